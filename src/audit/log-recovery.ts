// A log as it is found: whether it is what was written, where it ends, and what a crash left of a line, which is cut. The newest segments are
// read whole; `verdict log verify` reads all.
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import {
  eachLine,
  headLength,
  keptOf,
  leavesName,
  linesFromEnd,
  listSegments,
  logFiles,
  readKeptFrom,
  readLeaves,
  readSegments,
  type Segment,
  seqOf,
} from './log-files.ts'
import { removeOld } from './retention.ts'
import { type Digest, GrowingTree, Leaves, leafHashAt } from './tree/merkle.ts'
import { type Checkpoint, type NoteSigner, parseCheckpoint, parseNote, verifyNote } from './tree/note.ts'

export interface Recovered {
  readonly file: string
  /** Of a line that was not whole. */
  readonly bytes: number
}

export interface FoundLog {
  readonly tree: GrowingTree
  /** The newest segment; undefined: there is none. */
  readonly last: Segment | undefined
  /** Bytes of it. */
  readonly lastBytes: number
  /** The number of the last line; 0: there is none. */
  readonly lastSeq: number
  /** Entries that the newest checkpoint covers. */
  readonly published: number
  readonly segments: number
  /** What was cut; undefined: nothing. */
  readonly recovered: Recovered | undefined
}

/** Of the newest segments, so much is held against the checkpoint. Bytes. */
const maxCheckedBytes = 256 * 1024 * 1024

/** @throws PdpError ERR_LOG_BROKEN where what is there is not what was written; errors of the file system */
export function recoverLog(folder: string, signers: readonly NoteSigner[]): FoundLog {
  const { segments, bytes, torn } = readSegments(folder)
  if (torn > 0) truncateSync(join(folder, logFiles.index), bytes)
  const published = publishedBy(folder, signers)
  const last = segments.at(-1)
  if (last === undefined) {
    if (published !== undefined) throw broken(`there is a checkpoint and no \`${logFiles.index}\``)
    // Lines from before there was a tree.
    const lastSeq = lastSeqOf(folder, listSegments(folder))
    return { tree: new GrowingTree(), last, lastBytes: 0, lastSeq, published: 0, segments: 0, recovered: undefined }
  }
  const keptFrom = readKeptFrom(folder)
  if (keptFrom !== undefined && segments.every(({ file }) => file !== keptFrom)) throw broken(`\`${logFiles.keptFrom}\` names no segment`)
  // A crash may have left some of them.
  if (keptFrom !== undefined) removeOld(folder, segments, keptFrom)
  const kept = keptOf(segments, keptFrom)
  checkSizes(folder, kept)
  const read = readNewest(folder, kept.slice(firstToCheck(folder, kept, published)), published)
  const { size } = read.tree
  if (published !== undefined && published.size > size)
    throw broken(`its checkpoint is of ${published.size} entries, and ${size} are there`)
  if (published !== undefined && read.rootAt !== published.root)
    throw broken(`what is there is not what the checkpoint of ${published.size} entries says`)
  const names = kept.map(({ file }) => file)
  return { ...read, last, lastSeq: lastSeqOf(folder, names), published: published?.size ?? 0, segments: segments.length }
}

function broken(what: string): PdpError {
  return new PdpError('ERR_LOG_BROKEN', `nothing is added to a decision log that was changed: ${what}; \`verdict log verify\` says more`)
}

interface ReadLog extends Pick<FoundLog, 'tree' | 'lastBytes' | 'recovered'> {
  /** Of the tree, where the checkpoint ends. */
  readonly rootAt: Digest | undefined
}

function readNewest(folder: string, segments: readonly Segment[], published: Checkpoint | undefined): ReadLog {
  let tree = new GrowingTree()
  let rootAt: Digest | undefined
  let lastBytes = 0
  let recovered: Recovered | undefined
  for (const [i, segment] of segments.entries()) {
    if (i === 0) tree = beginning(segment)
    else if (!tree.isAt(segment.first, segment.roots)) throw broken(`\`${segment.file}\` does not begin where the one before ends`)
    if (tree.size === published?.size) rootAt = tree.root()
    const next = segments[i + 1]
    const leaves = new Leaves()
    const path = join(folder, segment.file)
    const take = (buffer: Buffer, start: number, end: number) => {
      const leaf = leafHashAt(buffer, start, end)
      tree.append(leaf)
      leaves.add(leaf)
      if (tree.size === published?.size) rootAt = tree.root()
    }
    const ends = eachLine(path, take, next?.previousBytes)
    if (next === undefined) {
      if (ends.torn > 0) {
        truncateSync(path, ends.whole)
        recovered = { file: segment.file, bytes: ends.torn }
      }
      lastBytes = ends.whole
    }
    checkLeaves(folder, segment, leaves, next === undefined)
  }
  return { tree, rootAt, lastBytes, recovered }
}

/** Those of the newest segment may be fewer than its entries: they are not synced. */
function checkLeaves(folder: string, { file, first }: Segment, leaves: Leaves, isLast: boolean): void {
  const there = readLeaves(folder, file)
  const known = Math.min(there?.count ?? 0, leaves.size)
  for (let i = 0; i < known; i++) {
    if (there?.at(i) !== leaves.at(i)) throw broken(`entry ${first + i}, line ${i + 1} of \`${file}\`, is not what was written`)
  }
  if (isLast) writeFileSync(join(folder, leavesName(file)), leaves.bytes, { mode: 0o600 })
}

function publishedBy(folder: string, signers: readonly NoteSigner[]): Checkpoint | undefined {
  const path = join(folder, logFiles.checkpoint)
  if (!existsSync(path)) return undefined
  try {
    const note = parseNote(readFileSync(path))
    verifyNote(note, signers)
    const checkpoint = parseCheckpoint(note.text)
    if (checkpoint.origin !== signers[0]?.name) throw new PdpError('ERR_FILE', `it is of \`${checkpoint.origin}\``)
    return checkpoint
  } catch (cause) {
    throw broken(`its checkpoint is not to be believed: ${(cause as Error).message}`)
  }
}

function beginning({ file, first, roots }: Segment): GrowingTree {
  try {
    return new GrowingTree(first, roots)
  } catch {
    throw broken(`the index says what cannot be of \`${file}\``)
  }
}

/** All are there, with as many bytes as they had, at least. */
function checkSizes(folder: string, segments: readonly Segment[]): void {
  for (const [i, { file }] of segments.entries()) {
    const bytes = statSync(join(folder, file), { throwIfNoEntry: false })?.size
    if (bytes === undefined) throw broken(`\`${file}\` is not there`)
    const wanted = segments[i + 1]?.previousBytes
    if (wanted !== undefined && bytes < wanted) throw broken(`\`${file}\` has ${bytes} bytes, and had ${wanted}`)
  }
}

/** The segment from which on all is read: the newest within the bound, and whatever is behind the checkpoint. */
function firstToCheck(folder: string, segments: readonly Segment[], published: Checkpoint | undefined): number {
  const sizeOf = (i: number) => statSync(join(folder, (segments[i] as Segment).file)).size
  let from = segments.length - 1
  let bytes = sizeOf(from)
  while (from > 0) {
    bytes += sizeOf(from - 1)
    if (bytes > maxCheckedBytes && (segments[from] as Segment).first <= (published?.size ?? 0)) break
    from--
  }
  return from
}

/** Of the newest line that has a number. */
function lastSeqOf(folder: string, files: readonly string[]): number {
  for (const file of [...files].reverse()) {
    for (const line of linesFromEnd(join(folder, file))) {
      const seq = seqOf(line.slice(0, headLength))
      if (seq !== undefined) return seq
    }
  }
  return 0
}
