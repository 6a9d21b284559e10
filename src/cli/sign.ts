// verdict sign: a further signature of a bundle, in an envelope of its own (DSSE), for services that want several signers.
import type { Command } from 'commander'
import { digestOf } from '../bundles/archive.ts'
import { makeEnvelope } from '../bundles/envelopes.ts'
import { readInput, writeOutput } from './files.ts'
import { print, printJson } from './output.ts'
import { expiryOf, type SigningOptions, signingKeyOf, withSigningOptions } from './signing-options.ts'

interface SignCommandOptions extends SigningOptions {
  signingKey: string
  output: string
  json?: boolean
}

export function signCommand(program: Command): void {
  withSigningOptions(
    program
      .command('sign')
      .description('sign a bundle as one signer of several, in an envelope beside it')
      .argument('<file>', 'the bundle, .tar.gz')
      .requiredOption('--signing-key <file>', 'private key in PEM')
      .requiredOption('-o, --output <file>', 'the envelope to write, JSON'),
  )
    .option('--json', 'print a JSON report')
    .addHelpText(
      'after',
      `
Examples:
  verdict sign bundle.tar.gz --signing-key audit.pem --signing-alg EdDSA --key-id audit -o bundle.audit.json
  verdict bundles sign main 3f2a9c bundle.audit.json

The signer of the archive itself is told by \`verdict build --signing-key\`.`,
    )
    .action(async (file: string, options: SignCommandOptions) => {
      const archive = await readInput(file)
      const digest = digestOf(archive)
      const claims = { bundle: options.signedName, expiresAtMs: expiryOf(options, Date.now()) }
      const envelope = makeEnvelope(digest, await signingKeyOf(options.signingKey, options), claims)
      await writeOutput(options.output, `${envelope}\n`)
      if (options.json) printJson({ file: options.output, digest })
      else print(`${options.output}: ${digest} signed`)
    })
}
