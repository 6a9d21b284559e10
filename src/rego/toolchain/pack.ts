// Turns the Go compiler's output into what is committed: metered (see src/wasm/meter.ts), its memory given a maximum,
// compressed with Zstandard, its SHA-256 beside it. The checksum is of the uncompressed module, so that it does not depend on the
// version of the compressor. Run by build.sh: pack.ts PLAIN.wasm OUTPUT-FOLDER
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, zstdCompressSync } from 'node:zlib'
import { withMemoryMaximum } from '../../wasm/memory-section.ts'
import { meter } from '../../wasm/meter.ts'

const [plainPath, folder] = process.argv.slice(2)
if (plainPath === undefined || folder === undefined) throw new TypeError('usage: pack.ts PLAIN.wasm FOLDER')
/** Of 64 KiB: 2 GiB, for the largest policies to compile. What one call of a built-in can take is bounded by its steps. */
const maxPages = 32_768
const metered = withMemoryMaximum(meter(readFileSync(plainPath), { counter: 'i64' }), maxPages)
const compressed = zstdCompressSync(metered, {
  params: { [constants.ZSTD_c_compressionLevel]: 19, [constants.ZSTD_c_windowLog]: 25 },
})
writeFileSync(join(folder, 'toolchain.wasm.zst'), compressed)
writeFileSync(join(folder, 'toolchain.wasm.sha256'), `${createHash('sha256').update(metered).digest('hex')}\n`)
