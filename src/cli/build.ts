// verdict build: a folder of Rego and data becomes a bundle with policy.wasm.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { digestOf } from '../bundles/archive.ts'
import { buildBundle } from '../bundles/build-bundle.ts'
import { readFolder } from '../bundles/folder.ts'
import { readBundle } from '../bundles/read-bundle.ts'
import { PdpError } from '../errors.ts'
import { print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface BuildCommandOptions {
  output: string
  entrypoint?: string[]
  revision?: string
  json?: boolean
}

export function buildCommand(program: Command): void {
  program
    .command('build')
    .description('compile a folder to an OPA bundle with policy.wasm')
    .argument('<dir>', 'folder of Rego and data')
    .requiredOption('-o, --output <file>', 'the bundle to write, .tar.gz')
    .option(
      '-e, --entrypoint <path>',
      'package/rule, beside those that annotations mark; may be repeated',
      (v: string, all: string[] = []) => [...all, v],
    )
    .option('--revision <label>', "the author's label")
    .option('--json', 'print a JSON report')
    .addHelpText(
      'after',
      `
Examples:
  verdict build policies -o bundle.tar.gz --revision "$(git rev-parse --short HEAD)"
  verdict build policies -o bundle.tar.gz -e authz/allow

The same sources give the same bytes. \`opa eval -b bundle.tar.gz\` reads the bundle too.`,
    )
    .action(async (dir: string, options: BuildCommandOptions) => {
      const archive = await withToolchain(async (toolchain) =>
        buildBundle(await readFolder(dir, toolchain), toolchain, { entrypoints: options.entrypoint ?? [], revision: options.revision }),
      )
      await writeFile(options.output, archive).catch((cause: Error) => {
        throw new PdpError('ERR_FILE', `\`${options.output}\` cannot be written: ${cause.message}`, { cause })
      })
      const { manifest } = await readBundle(archive)
      const report = {
        file: options.output,
        bytes: archive.length,
        digest: digestOf(archive),
        revision: manifest.revision,
        entrypoints: manifest.wasm.map(({ entrypoint }) => ({ path: entrypoint, reads: manifest.metadata.verdict?.reads[entrypoint] })),
      }
      if (options.json) printJson(report)
      else {
        print(`${report.file}: ${report.bytes} bytes, ${report.digest}`)
        for (const { path, reads } of report.entrypoints) {
          const nondeterministic = reads?.nondeterministic.length ? `; not deterministic: ${reads.nondeterministic.join(', ')}` : ''
          print(`  ${path} reads ${reads?.input.map((p) => ['input', ...p].join('.')).join(', ') || 'no input'}${nondeterministic}`)
        }
      }
    })
}
