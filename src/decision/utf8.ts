// Text to bytes and back. Not what characters mean.
import { isUtf8 } from 'node:buffer'
import { PdpError } from '../errors.ts'

/**
 * Decodes a body. A byte order mark is refused like any other character that JSON does not know.
 * @throws PdpError ERR_INVALID_UTF8
 */
export function decodeUtf8(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new PdpError('ERR_INVALID_UTF8', 'the body is not valid UTF-8')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

const encoder = new TextEncoder()

/**
 * Writes a text, also one that was just put together from parts: Buffer.write takes several times as long for those
 * (3.4 instead of 0.9 µs for 700 characters of 30 parts).
 * @param at offset with at least three times the text's length behind it
 * @returns bytes written
 */
export function writeUtf8(text: string, into: Uint8Array, at: number): number {
  return encoder.encodeInto(text, at === 0 ? into : into.subarray(at)).written
}
