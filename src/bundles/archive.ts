// Gzipped tar archives, in memory: read with bounds, written reproducibly. Nothing is ever unpacked to disk.
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gunzip, gzipSync } from 'node:zlib'
import { extract, pack } from 'tar-stream'
import { PdpError } from '../errors.ts'

const unzip = promisify(gunzip)

export interface ArchiveLimits {
  /** Bytes after decompression. */
  readonly maxUnpackedBytes: number
  readonly maxEntries: number
}

export const defaultArchiveLimits: ArchiveLimits = { maxUnpackedBytes: 512 * 1024 * 1024, maxEntries: 10_000 }

const maxPathLength = 512

/** `sha256:` and the hexadecimal digest of an archive. */
export function digestOf(archive: Uint8Array): string {
  return `sha256:${createHash('sha256').update(archive).digest('hex')}`
}

/**
 * Reads all regular files of an archive.
 * @returns contents by path, without a leading slash or `./`
 * @throws PdpError ERR_BUNDLE_INVALID, ERR_BUNDLE_TOO_LARGE, ERR_BUNDLE_PATH, ERR_BUNDLE_ENTRY_TYPE,
 * ERR_BUNDLE_DUPLICATE_ENTRY
 */
export async function readArchive(archive: Uint8Array, limits: ArchiveLimits = defaultArchiveLimits): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const folded = new Set<string>()
  const tar = extract()
  tar.end(await decompress(archive, limits))
  try {
    for await (const entry of tar) {
      const { name, type } = entry.header
      if (type === 'directory') {
        entry.resume()
        continue
      }
      if (type !== 'file' && type !== 'contiguous-file') {
        throw new PdpError(
          'ERR_BUNDLE_ENTRY_TYPE',
          `the archive holds \`${printable(name)}\`, which is a ${type}; only regular files are allowed`,
        )
      }
      const path = checkPath(name)
      if (folded.has(fold(path))) throw new PdpError('ERR_BUNDLE_DUPLICATE_ENTRY', `the archive holds \`${printable(path)}\` twice`)
      folded.add(fold(path))
      if (files.size >= limits.maxEntries)
        throw new PdpError('ERR_BUNDLE_TOO_LARGE', `the archive has more than \`${limits.maxEntries}\` files`)
      const parts: Buffer[] = []
      for await (const part of entry) parts.push(part as Buffer)
      files.set(path, Buffer.concat(parts))
    }
  } catch (cause) {
    if (cause instanceof PdpError) throw cause
    throw new PdpError('ERR_BUNDLE_INVALID', `the archive is not a tar archive: ${(cause as Error).message}`, { cause })
  }
  return files
}

/** Writes files in the order of their paths; the same files give the same bytes. */
export async function writeArchive(files: ReadonlyMap<string, Uint8Array | string>): Promise<Buffer> {
  const tar = pack()
  const parts: Buffer[] = []
  const done = (async () => {
    for await (const part of tar) parts.push(part as Buffer)
  })()
  for (const path of [...files.keys()].sort()) {
    tar.entry({ name: `/${path}`, mtime: new Date(0), mode: 0o644 }, Buffer.from(files.get(path) as string))
  }
  tar.finalize()
  await done
  return gzipSync(Buffer.concat(parts), { level: 6 })
}

async function decompress(archive: Uint8Array, limits: ArchiveLimits): Promise<Buffer> {
  try {
    return await unzip(archive, { maxOutputLength: limits.maxUnpackedBytes })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new PdpError('ERR_BUNDLE_TOO_LARGE', `the archive unpacks to more than \`${limits.maxUnpackedBytes}\` bytes`)
    }
    throw new PdpError('ERR_BUNDLE_INVALID', 'the archive is not gzip, or it is truncated', { cause })
  }
}

function checkPath(name: string): string {
  const path = name.replace(/^(?:\.?\/)+/, '')
  const bad =
    path === '' ||
    path.length > maxPathLength ||
    /[\u0000-\u001f\u007f\\]|^[A-Za-z]:/.test(path) ||
    path.split('/').some((part) => part === '' || part === '.' || part === '..' || /[. ]$/.test(part))
  if (bad) throw new PdpError('ERR_BUNDLE_PATH', `the archive holds the path \`${printable(name)}\`, which is not allowed`)
  return path
}

function fold(path: string): string {
  return path.normalize('NFC').toLowerCase()
}

function printable(name: string): string {
  return JSON.stringify(name.slice(0, 100)).slice(1, -1)
}
