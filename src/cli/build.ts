// verdict build: a folder of Rego and data becomes a bundle with policy.wasm.
import type { Command } from 'commander'
import { digestOf, readArchive, writeArchive } from '../bundles/archive.ts'
import { buildBundle } from '../bundles/build-bundle.ts'
import { readFolder } from '../bundles/folder.ts'
import { readBundle } from '../bundles/read-bundle.ts'
import { signaturesFile, signFiles } from '../bundles/signatures.ts'
import { writeOutput } from './files.ts'
import { print, printJson } from './output.ts'
import { expiryOf, numberOf, type SigningOptions, signingKeyOf, withSigningOptions } from './signing-options.ts'
import { withToolchain } from './with-toolchain.ts'

interface BuildCommandOptions extends SigningOptions {
  output: string
  entrypoint?: string[]
  revision?: string
  signingKey?: string
  scope?: string
  sequence?: string
  json?: boolean
}

export function buildCommand(program: Command): void {
  withSigningOptions(program.command('build'))
    .description('compile a folder to an OPA bundle with policy.wasm')
    .argument('<dir>', 'folder of Rego and data')
    .requiredOption('-o, --output <file>', 'the bundle to write, .tar.gz')
    .option(
      '-e, --entrypoint <path>',
      'package/rule, beside those that annotations mark; may be repeated',
      (v: string, all: string[] = []) => [...all, v],
    )
    .option('--revision <label>', "the author's label")
    .option('--signing-key <file>', 'sign with this private key in PEM, or the secret of an HS algorithm')
    .option('--scope <scope>', 'scope of the signature')
    .option('--sequence <number>', 'number that goes up with every bundle, against rollback')
    .option('--json', 'print a JSON report')
    .addHelpText(
      'after',
      `
Examples:
  verdict build policies -o bundle.tar.gz --revision "$(git rev-parse --short HEAD)"
  verdict build policies -o bundle.tar.gz -e authz/allow
  verdict build policies -o bundle.tar.gz --signing-key key.pem --signing-alg ES256 --key-id ci --sequence 42

The same sources give the same bytes. \`opa eval -b bundle.tar.gz\` reads the bundle too.`,
    )
    .action(async (dir: string, options: BuildCommandOptions) => {
      const built = await withToolchain(async (toolchain) =>
        buildBundle(await readFolder(dir, toolchain), toolchain, { entrypoints: options.entrypoint ?? [], revision: options.revision }),
      )
      const archive = options.signingKey === undefined ? built : await sign(built, options.signingKey, options)
      await writeOutput(options.output, archive)
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

async function sign(archive: Buffer, file: string, options: BuildCommandOptions): Promise<Buffer> {
  const key = await signingKeyOf(file, options)
  const files = await readArchive(archive)
  const now = Date.now()
  const claims = {
    scope: options.scope,
    expiresAtMs: expiryOf(options, now),
    sequence: numberOf('--sequence', options.sequence),
    bundle: options.signedName,
  }
  return writeArchive(new Map<string, Uint8Array | string>([...files, [signaturesFile, await signFiles(files, key, claims, now)]]))
}
