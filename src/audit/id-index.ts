// Which parts of a segment may hold an ID: for each MiB of it a filter (Bloom) of the IDs in its lines. A hundredth of the segment's size,
// made from it by `verdict log index` and kept beside it in `ids/`; where there is none that fits, all of the segment is read.
// Says what may be skipped and nothing else: no record is believed to be there because of it, and `log verify` does not look at it.
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Finder } from './finder.ts'
import { eachLine } from './log-files.ts'

const idsFolder = 'ids'

export function idsName(file: string): string {
  return `${idsFolder}/${file.replace(/ndjson$/, 'ids')}`
}

/** Values of members whose names end with `id`, as they stand in a line between quotes: one of each list must be there. */
export type WantedIds = readonly (readonly string[])[]

/** From a byte of a segment to another, not included. */
export type Range = readonly [from: number, to: number]

const blockBytes = 1024 * 1024
/** For one text of a hundred a block is read in vain. */
const bitsPerId = 10
const hashes = 7
const version = 1

interface Block {
  readonly from: number
  readonly to: number
  /** It has a string with an escape that could be written otherwise: any text may be in it. */
  readonly isOpen: boolean
  /** Of its filter. */
  readonly bytes: number
}

interface Header {
  readonly version: number
  /** Of the segment that it was made from. */
  readonly segmentBytes: number
  readonly blocks: readonly Block[]
}

/**
 * @param file of a segment that is not written to any longer
 * @returns the parts that may hold what is looked for; undefined: nobody knows
 */
export function rangesWith(folder: string, file: string, ids: WantedIds): Range[] | undefined {
  const index = readIndex(folder, file)
  if (index === undefined) return undefined
  const { header, filters } = index
  const wanted = ids.map((any) => any.map((text) => hashOf(Buffer.from(text), 0, Buffer.byteLength(text))))
  const ranges: [number, number][] = []
  let at = 0
  for (const { from, to, isOpen, bytes } of header.blocks) {
    const filter = filters.subarray(at, at + bytes)
    at += bytes
    if (!isOpen && !wanted.every((any) => any.some((hash) => has(filter, hash)))) continue
    const last = ranges.at(-1)
    if (last?.[1] === from) last[1] = to
    else ranges.push([from, to])
  }
  return ranges
}

/** @returns undefined where there is none that fits */
function readIndex(folder: string, file: string): { readonly header: Header; readonly filters: Buffer } | undefined {
  try {
    const content = readFileSync(join(folder, idsName(file)))
    const end = content.indexOf(0x0a)
    const header = JSON.parse(content.toString('utf8', 0, end)) as Header
    const filters = content.subarray(end + 1)
    const whole = header.blocks.reduce((sum, { bytes }) => sum + bytes, 0)
    const fits = header.version === version && header.segmentBytes === statSync(join(folder, file)).size && filters.length === whole
    return fits ? { header, filters } : undefined
  } catch {
    return undefined
  }
}

/**
 * Makes the index of a segment that is not written to any longer, where there is none that fits.
 * @returns whether it was made
 * @throws errors of the file system
 */
export function indexSegment(folder: string, file: string): boolean {
  if (readIndex(folder, file) !== undefined) return false
  const { size } = statSync(join(folder, file))
  const blocks: Block[] = []
  const filters: Buffer[] = []
  let [from, to, isOpen] = [0, 0, false]
  let known = new Set<number>()
  const end = () => {
    const filter = Buffer.alloc(Math.max(8, Math.ceil((known.size * bitsPerId) / 8)))
    for (const hash of known) add(filter, hash)
    blocks.push({ from, to, isOpen, bytes: filter.length })
    filters.push(filter)
    from = to
    isOpen = false
    known = new Set()
  }
  const escapes = ['\\u', '\\/'].map((text) => new Finder(Buffer.from(text)))
  const members = new Finder(memberEnd)
  eachLine(
    join(folder, file),
    (bytes, begins, ends) => {
      if (escapes.some((one) => one.isIn(bytes, begins, ends))) isOpen = true
      if (members.isIn(bytes, begins, ends)) addIds(known, bytes, begins, ends)
      to += ends - begins + 1
      if (to - from >= blockBytes) end()
    },
    size,
  )
  if (to > from) end()
  const header: Header = { version, segmentBytes: size, blocks }
  const path = join(folder, idsName(file))
  mkdirSync(join(folder, idsFolder), { recursive: true, mode: 0o700 })
  const unfinished = `${path}.${process.pid}`
  writeFileSync(unfinished, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...filters]), { mode: 0o600 })
  renameSync(unfinished, path)
  return true
}

const memberEnd = Buffer.from('id"')
const [quote, backslash, colon] = [0x22, 0x5c, 0x3a]

/** Also what only looks like a member: more in a filter does no harm. */
function addIds(known: Set<number>, bytes: Buffer, from: number, to: number): void {
  for (let at = bytes.indexOf(memberEnd, from); at >= 0 && at < to; at = bytes.indexOf(memberEnd, at)) {
    at = afterSpaces(bytes, at + memberEnd.length)
    if (bytes[at] !== colon) continue
    at = afterSpaces(bytes, at + 1)
    if (bytes[at] !== quote) continue
    const begins = ++at
    while (at < to && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1
    known.add(hashOf(bytes, begins, Math.min(at, to)))
  }
}

function afterSpaces(bytes: Buffer, at: number): number {
  while (bytes[at] === 0x20 || bytes[at] === 0x09) at++
  return at
}

/** FNV-1a */
function hashOf(bytes: Buffer, from: number, to: number): number {
  let hash = 0x811c9dc5
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193)
  return hash >>> 0
}

function add(filter: Buffer, hash: number): void {
  eachBit(filter, hash, (byte, bit) => {
    filter[byte] = (filter[byte] as number) | bit
    return true
  })
}

function has(filter: Buffer, hash: number): boolean {
  return eachBit(filter, hash, (byte, bit) => ((filter[byte] as number) & bit) !== 0)
}

/** @returns whether `use` said so of each bit */
function eachBit(filter: Buffer, hash: number, use: (byte: number, bit: number) => boolean): boolean {
  const bits = filter.length * 8
  const step = (Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0) | 1
  let bit = hash
  for (let i = 0; i < hashes; i++) {
    const place = bit % bits
    if (!use(place >>> 3, 1 << (place & 7))) return false
    bit = (bit + step) >>> 0
  }
  return true
}
