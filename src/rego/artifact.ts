// The committed toolchain as a compiled module: read, unpacked, compared with its checksum, compiled.
// Synchronous, some 400 ms of work: it runs in the toolchain's worker, never on the thread that serves.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'
import { PdpError } from '../errors.ts'

const committed = new URL('./toolchain/', import.meta.url)

/** Largest size that the unpacked artifact may have; it has about 42 MB. */
const maxArtifactBytes = 128 * 1024 * 1024

/**
 * Unpacks the toolchain.
 * @param folder where toolchain.wasm.zst and its checksum lie; default: beside this file
 * @returns the module and the SHA-256 of its bytes, in hexadecimal
 * @throws PdpError ERR_TOOLCHAIN when a file is missing, damaged or not what the checksum says
 */
export function loadToolchainModule(folder: URL = committed): { module: WebAssembly.Module; sha256: string } {
  try {
    const wasm = zstdDecompressSync(readFileSync(new URL('toolchain.wasm.zst', folder)), { maxOutputLength: maxArtifactBytes })
    const sha256 = createHash('sha256').update(wasm).digest('hex')
    const expected = readFileSync(new URL('toolchain.wasm.sha256', folder), 'utf8').trim()
    if (sha256 !== expected) {
      throw new PdpError('ERR_TOOLCHAIN', `the toolchain's SHA-256 is \`${sha256}\`, expected \`${expected}\``)
    }
    return { module: new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>), sha256 }
  } catch (cause) {
    if (cause instanceof PdpError) throw cause
    throw new PdpError('ERR_TOOLCHAIN', `the Rego toolchain cannot be loaded: ${(cause as Error).message}`, { cause })
  }
}
