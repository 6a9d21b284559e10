// Signed notes and checkpoints: the text that says how large a log is and what its root is, with signatures behind it.
// @see https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import { PdpError } from '../../errors.ts'
import type { Digest } from './merkle.ts'

/** Verifies signatures of one key. */
export interface NoteKey {
  readonly name: string
  /** First four bytes of SHA-256 over name, algorithm and key, in hexadecimal. */
  readonly id: string
  readonly publicKey: KeyObject
}

export interface NoteSigner extends NoteKey {
  readonly privateKey: KeyObject
}

/** What a checkpoint says. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Digest
}

export interface SignedNote {
  /** What is signed, with its last line break. */
  readonly text: string
  readonly signatures: readonly { readonly name: string; readonly id: string; readonly signature: Buffer }[]
}

const ed25519 = 0x01
const ed25519Prefix = Buffer.from('302a300506032b6570032100', 'hex')
/** Of a whole note. Bytes. */
const maxNoteBytes = 65_536
const maxSignatures = 100
const badName = /[\s+]/u

/** @throws PdpError ERR_CONFIG_INVALID for a name that cannot be one, and for a key of another kind */
export function noteSigner(name: string, pem: string): NoteSigner {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey(pem)
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `a key of the decision log cannot be read: ${(cause as Error).message}`, { cause })
  }
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new PdpError('ERR_CONFIG_INVALID', 'keys of the decision log must be Ed25519')
  if (name === '' || badName.test(name))
    throw new PdpError('ERR_CONFIG_INVALID', 'the origin of the decision log must have no spaces and no `+`')
  const publicKey = createPublicKey(privateKey)
  return { name, id: keyId(name, rawKey(publicKey)), publicKey, privateKey }
}

/** The text by which others know the key: `name+id+key`. */
export function verifierText({ name, id, publicKey }: NoteKey): string {
  return `${name}+${id}+${Buffer.from([ed25519, ...rawKey(publicKey)]).toString('base64')}`
}

/** @throws PdpError ERR_USAGE for what is no Ed25519 verifier key */
export function parseVerifier(text: string): NoteKey {
  const parts = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/u.exec(text.trim())
  const bytes = Buffer.from(parts?.[3] ?? '', 'base64')
  const [, name = '', id = ''] = parts ?? []
  const raw = bytes.subarray(1)
  if (bytes[0] !== ed25519 || raw.length !== 32 || keyId(name, raw) !== id)
    throw new PdpError('ERR_USAGE', 'a verifier key is `name+id+key`, of Ed25519, as `tree/log.vkey` in the folder of a log has it')
  return { name, id, publicKey: createPublicKey({ key: Buffer.concat([ed25519Prefix, raw]), format: 'der', type: 'spki' }) }
}

/** @param text with its last line break */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  const lines = signers.map(({ name, id, privateKey }) => {
    const signature = sign(null, Buffer.from(text), privateKey)
    return `— ${name} ${Buffer.concat([Buffer.from(id, 'hex'), signature]).toString('base64')}\n`
  })
  return `${text}\n${lines.join('')}`
}

/** @throws PdpError ERR_FILE for what is no note */
export function parseNote(bytes: Buffer): SignedNote {
  const bad = (what: string) => new PdpError('ERR_FILE', `this is no signed note: ${what}`)
  if (bytes.length > maxNoteBytes) throw bad('it is too long')
  let note: string
  try {
    note = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new PdpError('ERR_FILE', 'this is no signed note: it is not UTF-8', { cause })
  }
  if (/[\x00-\x09\x0b-\x1f]/.test(note)) throw bad('it has control characters')
  const split = note.lastIndexOf('\n\n')
  if (split < 0 || !note.endsWith('\n')) throw bad('there is no line between text and signatures')
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > maxSignatures) throw bad('it has too many signatures')
  const signatures = lines.map((line) => {
    const [, name, base64] = /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/u.exec(line) ?? []
    const raw = Buffer.from(base64 ?? '', 'base64')
    if (name === undefined || raw.length < 5 || raw.toString('base64') !== base64) throw bad('a signature is malformed')
    return { name, id: raw.toString('hex', 0, 4), signature: raw.subarray(4) }
  })
  return { text: note.slice(0, split + 1), signatures }
}

/**
 * @returns the keys that signed
 * @throws PdpError ERR_FILE where none of the keys signed, or a signature of one of them is wrong; those of others are passed over
 */
export function verifyNote({ text, signatures }: SignedNote, keys: readonly NoteKey[]): NoteKey[] {
  const data = Buffer.from(text)
  const verified = new Set<NoteKey>()
  for (const { name, id, signature } of signatures) {
    for (const key of keys) {
      if (key.name !== name || key.id !== id) continue
      if (!verify(null, data, key.publicKey, signature)) throw new PdpError('ERR_FILE', `the signature of \`${name}\` is wrong`)
      verified.add(key)
    }
  }
  if (verified.size === 0) throw new PdpError('ERR_FILE', 'no key that is known has signed it')
  return [...verified]
}

export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root, 'latin1').toString('base64')}\n`
}

/** @throws PdpError ERR_FILE for what is no checkpoint */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', root = ''] = text.split('\n')
  const bytes = Buffer.from(root, 'base64')
  if (origin === '' || !/^(?:0|[1-9]\d{0,15})$/.test(size) || bytes.length !== 32 || bytes.toString('base64') !== root)
    throw new PdpError('ERR_FILE', 'this is no checkpoint of a log')
  return { origin, size: Number(size), root: bytes.toString('latin1') }
}

function keyId(name: string, raw: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ed25519]), raw]), 'hex').slice(0, 8)
}

function rawKey(publicKey: KeyObject): Buffer {
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(ed25519Prefix.length)
}
