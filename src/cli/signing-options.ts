// How commands that sign are told with what: the key, its algorithm and name, and until when.
import { type Command, Option } from 'commander'
import { parseKey, type SigningAlgorithm, type SigningKey, signingAlgorithms } from '../bundles/signatures.ts'
import { PdpError } from '../errors.ts'
import { readInput } from './files.ts'

export interface SigningOptions {
  signingAlg: string
  keyId?: string
  expiresDays?: string
  signedName?: string
}

export function withSigningOptions(command: Command): Command {
  return command
    .addOption(new Option('--signing-alg <alg>', 'algorithm of the signature').choices([...signingAlgorithms]).default('RS256'))
    .option('--key-id <id>', 'ID of the key, by which the service finds its own')
    .option('--expires-days <days>', 'days until the signature expires')
    .option('--signed-name <name>', 'the only name under which the bundle may be served')
}

/** @throws PdpError ERR_FILE, ERR_CONFIG_INVALID */
export async function signingKeyOf(file: string, { signingAlg, keyId }: SigningOptions): Promise<SigningKey> {
  const text = (await readInput(file)).toString('utf8')
  const algorithm = signingAlg as SigningAlgorithm
  return { id: keyId, algorithm, key: parseKey(text, algorithm, 'private', '--signing-key') }
}

/** @throws PdpError ERR_USAGE */
export function expiryOf({ expiresDays }: SigningOptions, nowMs: number): number | undefined {
  const days = numberOf('--expires-days', expiresDays)
  return days === undefined ? undefined : nowMs + days * 86_400_000
}

/** @throws PdpError ERR_USAGE */
export function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,15}$/.test(text)) throw new PdpError('ERR_USAGE', `${option} must be a whole number, not \`${text}\``)
  return Number(text)
}
