// verdict fmt: OPA's format for Rego, listed or written.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { readFolder } from '../bundles/folder.ts'
import { exitCodes, print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

export function fmtCommand(program: Command): void {
  program
    .command('fmt')
    .description('format Rego sources')
    .argument('<dir>', 'folder of Rego')
    .option('-w, --write', 'write the changes')
    .option('--json', 'print the list of files as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  verdict fmt policies            list files that are not formatted; exit code 1 when there are any\n  verdict fmt --write policies    format them',
    )
    .action(async (dir: string, options: { write?: boolean; json?: boolean }) => {
      const changed = await withToolchain(async (toolchain) => {
        const { modules, manifest } = await readFolder(dir, toolchain)
        return toolchain.format({ files: modules, regoVersion: manifest?.rego_version })
      })
      const paths = Object.keys(changed)
      if (options.write) for (const path of paths) await writeFile(join(dir, path), changed[path] as string)
      if (options.json) printJson({ files: paths, written: options.write === true })
      else for (const path of paths) print(options.write ? `formatted ${path}` : path)
      if (!options.write && paths.length > 0) process.exitCode = exitCodes.no
    })
}
