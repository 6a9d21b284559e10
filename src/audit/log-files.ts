// The files of a decision log, for those who write it and those who read it: segments of lines, in the order of their names; an index
// that says where in the tree each segment begins; the newest checkpoint, and those at the ends of segments.
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import type { Digest } from './tree/merkle.ts'

/** Beside the records, so that their folder holds nothing but records. */
export const treeFolder = 'tree'

export const logFiles = {
  /** A line for each segment, written before its first line. */
  index: `${treeFolder}/segments.ndjson`,
  /** The newest signed checkpoint. */
  checkpoint: `${treeFolder}/checkpoint`,
  /** Those at the ends of segments, one behind the other. */
  history: `${treeFolder}/checkpoints`,
  /** Name of the first segment that is kept, where older ones were removed as the configuration says (retention.ts). */
  keptFrom: `${treeFolder}/kept-from`,
  /** Public keys of the checkpoints, as verifiers want them. */
  verifiers: `${treeFolder}/log.vkey`,
} as const

/** Where a segment begins in the tree. */
export interface Segment {
  readonly file: string
  /** Entries before it. */
  readonly first: number
  /** Roots of the whole subtrees before it. */
  readonly roots: readonly Digest[]
  /** Bytes of the segment before it; what lies behind them is of a write that failed. */
  readonly previousBytes: number | undefined
}

const segmentPattern = /^decisions-[0-9TZ.]+-\d{6,}\.ndjson$/

/** @param count of those that this process has made */
export function segmentName(nowMs: number, count: number): string {
  return `decisions-${new Date(nowMs).toISOString().replaceAll(/[-:]/g, '')}-${String(count).padStart(6, '0')}.ndjson`
}

/** From the name of a segment, when it began. Milliseconds since 1970; not a number for other names. */
export function segmentTime(file: string): number {
  const [, year, month, day, time] = /^decisions-(\d{4})(\d{2})(\d{2})T([\d.]+)Z/.exec(file) ?? []
  const clock = time === undefined ? '' : `${time.slice(0, 2)}:${time.slice(2, 4)}:${time.slice(4)}`
  return Date.parse(`${year}-${month}-${day}T${clock}Z`)
}

/** Of the hashes of a segment's entries, 32 bytes each: they tell which entry was changed. */
export function leavesName(file: string): string {
  return `${treeFolder}/${file.replace(/ndjson$/, 'leaves')}`
}

/** Names of all segments, oldest first; those that no index knows among them. */
export function listSegments(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => segmentPattern.test(name))
    .sort()
}

export function segmentLine({ file, first, roots, previousBytes }: Segment): string {
  const encoded = roots.map((one) => Buffer.from(one, 'latin1').toString('base64'))
  return `${JSON.stringify({ file, first, roots: encoded, previous_bytes: previousBytes })}\n`
}

/**
 * @returns all segments of the tree, and how many bytes of a torn line lie behind the last
 * @throws PdpError ERR_LOG_BROKEN
 */
export function readSegments(folder: string): { readonly segments: readonly Segment[]; readonly bytes: number; readonly torn: number } {
  let content: Buffer
  try {
    content = readFileSync(join(folder, logFiles.index))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { segments: [], bytes: 0, torn: 0 }
    throw cause
  }
  const end = content.lastIndexOf(0x0a) + 1
  const segments = content
    .toString('utf8', 0, end)
    .split('\n')
    .slice(0, -1)
    .map((line, i) => parseSegment(line, i))
  return { segments, bytes: end, torn: content.length - end }
}

function parseSegment(line: string, index: number): Segment {
  const broken = () => new PdpError('ERR_LOG_BROKEN', `line ${index + 1} of \`${logFiles.index}\` is not what was written`)
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw broken()
  }
  const { file, first, roots, previous_bytes: previousBytes } = (value ?? {}) as Readonly<Record<string, unknown>>
  const isNumber = (one: unknown): one is number => Number.isSafeInteger(one) && (one as number) >= 0
  if (typeof file !== 'string' || !segmentPattern.test(file) || !isNumber(first) || !Array.isArray(roots)) throw broken()
  if (index === 0 ? previousBytes !== undefined : !isNumber(previousBytes)) throw broken()
  const decoded = roots.map((one) => Buffer.from(String(one), 'base64').toString('latin1'))
  if (decoded.some((one) => one.length !== 32)) throw broken()
  return { file, first, roots: decoded, previousBytes: previousBytes as number | undefined }
}

/** @returns the newest signed checkpoint; undefined: there is none */
export function readCheckpoint(folder: string): string | undefined {
  return readIfThere(join(folder, logFiles.checkpoint))
}

/** @returns the first segment that is kept; undefined: all are */
export function readKeptFrom(folder: string): string | undefined {
  return readIfThere(join(folder, logFiles.keptFrom))?.trim()
}

/** @param keptFrom as readKeptFrom gives it */
export function keptOf(segments: readonly Segment[], keptFrom: string | undefined): readonly Segment[] {
  return keptFrom === undefined ? segments : segments.filter(({ file }) => file >= keptFrom)
}

/** Hashes of the entries of a segment, as they were written. */
export interface WrittenLeaves {
  readonly count: number
  /** @returns undefined behind the last */
  at(index: number): Digest | undefined
}

/** @returns undefined where there are none */
export function readLeaves(folder: string, file: string): WrittenLeaves | undefined {
  const path = join(folder, leavesName(file))
  if (!existsSync(path)) return undefined
  const bytes = readFileSync(path)
  const count = Math.floor(bytes.length / leafBytes)
  return { count, at: (index) => (index < count ? bytes.toString('latin1', index * leafBytes, (index + 1) * leafBytes) : undefined) }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

const chunkBytes = 4 * 1024 * 1024

/**
 * The lines of a file, in order, without their line breaks.
 * @param take gets bytes that hold a line: they are written over behind the call
 * @param limit where what counts ends; default: with the file
 * @param from where a line begins; default: with the file
 * @returns bytes of all whole lines, and of what is behind them
 */
export function eachLine(
  path: string,
  take: (bytes: Buffer, from: number, to: number) => void,
  limit = Number.POSITIVE_INFINITY,
  from = 0,
): { readonly whole: number; readonly torn: number } {
  const file = openSync(path, 'r')
  try {
    const size = Math.min(fstatSync(file).size, limit)
    let buffer = Buffer.allocUnsafeSlow(chunkBytes)
    let used = 0
    let whole = 0
    for (let at = from; at < size; ) {
      if (used === buffer.length) {
        // A line that is longer than the buffer.
        const larger = Buffer.allocUnsafeSlow(buffer.length * 2)
        buffer.copy(larger)
        buffer = larger
      }
      const read = readSync(file, buffer, used, Math.min(buffer.length - used, size - at), at)
      if (read === 0) break
      at += read
      const end = used + read
      let begins = 0
      for (let to = buffer.indexOf(0x0a, used); to >= 0 && to < end; to = buffer.indexOf(0x0a, begins)) {
        take(buffer, begins, to)
        begins = to + 1
      }
      whole += begins
      buffer.copy(buffer, 0, begins, end)
      used = end - begins
    }
    return { whole, torn: used }
  } finally {
    closeSync(file)
  }
}

/** How far somebody has read. */
export interface Place {
  readonly file: string
  readonly bytes: number
}

/**
 * The lines behind a place, and the place behind them. What is older was read; a segment that is gone is passed over.
 * @param place undefined: nothing was read
 * @returns undefined: there is nothing new
 */
export function nextLines(
  folder: string,
  place: Place | undefined,
  maxLines: number,
  maxBytes: number,
): { readonly lines: readonly string[]; readonly place: Place } | undefined {
  const files = listSegments(folder)
  const file = place === undefined ? files[0] : files.find((one) => one >= place.file)
  if (file === undefined) return undefined
  const from = file === place?.file ? place.bytes : 0
  const { lines, bytes } = linesAt(join(folder, file), from, maxBytes)
  if (lines.length > 0) {
    const taken = lines.slice(0, maxLines)
    const length = taken.length === lines.length ? bytes : taken.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0)
    return { lines: taken, place: { file, bytes: from + length } }
  }
  const following = files[files.indexOf(file) + 1]
  return following === undefined ? undefined : { lines: [], place: { file: following, bytes: 0 } }
}

/** Whole lines from a place on. */
function linesAt(path: string, from: number, maxBytes: number): { readonly lines: readonly string[]; readonly bytes: number } {
  const file = openSync(path, 'r')
  try {
    for (let size = maxBytes; ; size *= 2) {
      const buffer = Buffer.alloc(size)
      const read = readSync(file, buffer, 0, size, from)
      const whole = buffer.subarray(0, read).lastIndexOf(0x0a) + 1
      // A line may be longer than what is read at once.
      if (whole === 0 && read === size) continue
      return { lines: whole === 0 ? [] : buffer.toString('utf8', 0, whole - 1).split('\n'), bytes: whole }
    }
  } finally {
    closeSync(file)
  }
}

const endChunkBytes = 1024 * 1024

/** Whole lines of a file, the last one first. */
export function* linesFromEnd(path: string): Generator<string> {
  const file = openSync(path, 'r')
  try {
    let rest = Buffer.alloc(0)
    for (let end = fstatSync(file).size; end > 0; ) {
      const start = Math.max(0, end - endChunkBytes)
      const chunk = Buffer.alloc(end - start)
      readSync(file, chunk, 0, chunk.length, start)
      end = start
      let whole = Buffer.concat([chunk, rest])
      for (let at = whole.lastIndexOf(0x0a); at >= 0; at = whole.lastIndexOf(0x0a)) {
        if (at + 1 < whole.length) yield whole.toString('utf8', at + 1)
        whole = whole.subarray(0, at)
      }
      rest = whole
    }
    if (rest.length > 0) yield rest.toString('utf8')
  } finally {
    closeSync(file)
  }
}

/** The number and the ID of a line stand so near to its beginning. Bytes. */
export const headLength = 256

/** Of one hash. */
export const leafBytes = 32

/** The number of a line, whatever it tells; undefined: it has none. */
export function seqOf(line: string): number | undefined {
  const seq = /^\{(?:"[a-z_]+":"[^"\\]*",){1,2}"seq":(\d{1,16}),/.exec(line)?.[1]
  return seq === undefined ? undefined : Number(seq)
}
