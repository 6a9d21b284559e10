// verdict check: parses, compiles and type-checks a folder.
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { readFolder } from '../bundles/folder.ts'
import { PdpError } from '../errors.ts'
import { exitCodes, print, printError, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface CheckCommandOptions {
  schema?: string
  strict?: boolean
  json?: boolean
}

export function checkCommand(program: Command): void {
  program
    .command('check')
    .description('check Rego sources, types included')
    .argument('<dir>', 'folder of Rego and data')
    .option('-s, --schema <file>', 'JSON Schema of input (default: input.schema.json in the folder)')
    .option('-S, --strict', "OPA's strict mode: unused variables and imports are errors")
    .option('--json', 'print findings as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  verdict check policies\n  verdict check policies --strict --schema input.schema.json\n\nExit code 1: there are findings.',
    )
    .action(async (dir: string, options: CheckCommandOptions) => {
      try {
        const files = await withToolchain(async (toolchain) => {
          const { modules, inputSchema, manifest } = await readFolder(dir, toolchain)
          const schema = options.schema === undefined ? inputSchema : await readFile(options.schema, 'utf8')
          await toolchain.check({ files: modules, regoVersion: manifest?.rego_version }, schema, options.strict)
          return Object.keys(modules).length
        })
        if (options.json) printJson({ files, findings: [] })
        else print(`${files} file${files === 1 ? '' : 's'}, no findings`)
      } catch (thrown) {
        if (!(thrown instanceof PdpError) || thrown.code !== 'ERR_REGO') throw thrown
        if (options.json) printJson({ findings: thrown.findings })
        else printError(thrown, false)
        process.exitCode = exitCodes.no
      }
    })
}
