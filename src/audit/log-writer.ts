// The one who writes a decision log: lines become entries of a tree, batches are written whole or not at all, checkpoints are signed for
// what is on disk and nothing else. Synchronous, for a thread of its own (log-worker.ts).
//
// INVARIANT: an entry that was reported as kept is in a segment and in the tree; a checkpoint is published only when all that it covers
// is synced, and no two checkpoints of one log contradict each other.
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import { appendSynced, syncFolder, writeWhole } from './durable-files.ts'
import { withoutFirst } from './line-chunks.ts'
import {
  eachLine,
  headLength,
  leafBytes,
  leavesName,
  linesFromEnd,
  listSegments,
  logFiles,
  readKeptFrom,
  readSegments,
  type Segment,
  segmentLine,
  segmentName,
  seqOf,
  treeFolder,
} from './log-files.ts'
import { type Expired, findExpired, type RetentionRule, removeBefore } from './retention.ts'
import { type Digest, GrowingTree, Leaves, leafHashAt } from './tree/merkle.ts'
import {
  type Checkpoint,
  checkpointText,
  type NoteSigner,
  parseCheckpoint,
  parseNote,
  signNote,
  verifierText,
  verifyNote,
} from './tree/note.ts'

export interface LogWriterOptions {
  readonly folder: string
  /** A segment that reached this size is followed by a new one. Bytes. */
  readonly maxFileBytes: number
  /** A segment that is older than this is followed by a new one. Milliseconds. */
  readonly maxFileAgeMs: number
  /** Whether each batch is on the disk when its write returns. */
  readonly isSynced: boolean
  /** At least one; all of them sign, and have the log's origin as their name. */
  readonly signers: readonly NoteSigner[]
}

export interface Recovered {
  readonly file: string
  /** Of a line that was not whole. */
  readonly bytes: number
}

interface OpenSegment {
  readonly file: string
  readonly handle: number
  /** Of the hashes of its entries. */
  readonly leaves: number
  readonly openedAtMs: number
  /** Entries before it. */
  readonly first: number
  bytes: number
}

/** Of the newest segments, so much is held against the checkpoint when a log is opened. Bytes. */
const maxCheckedBytes = 256 * 1024 * 1024

export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #treeFolder: string
  #tree = new GrowingTree()
  /** Entries that are on the disk for certain. */
  #synced = 0
  #published = 0
  /** Some entries were written, and then a sync failed. */
  #isUnsure = false
  #segment: OpenSegment | undefined
  /** Bytes of the newest segment, open or not; undefined: there is none. */
  #lastBytes: number | undefined
  #segmentCount = 0
  #lastSeq = 0
  #recovered: Recovered | undefined

  /**
   * Opens a log, or begins one; cuts what a crash left of a line.
   * @throws PdpError ERR_LOG_BROKEN where what is there is not what was written; errors of the file system
   */
  constructor(options: LogWriterOptions) {
    this.#options = options
    this.#treeFolder = join(options.folder, treeFolder)
    mkdirSync(this.#treeFolder, { recursive: true, mode: 0o700 })
    this.#recover()
    const verifiers = options.signers.map((one) => `${verifierText(one)}\n`).join('')
    writeWhole(join(options.folder, logFiles.verifiers), verifiers)
    // What a run before left without one.
    if (this.#tree.size > 0) this.checkpoint()
  }

  get size(): number {
    return this.#tree.size
  }

  /** The number of the last line that is there. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  /** What was cut when the log was opened; undefined: nothing. */
  get recovered(): Recovered | undefined {
    return this.#recovered
  }

  /**
   * Writes lines: all of them, or none.
   * @param chunks whole lines, the first byte of each chunk among them
   * @throws errors of the file system; the lines can be written again
   */
  write(chunks: readonly Buffer[]): void {
    const tree = this.#tree.copy()
    const leaves: Digest[] = []
    for (const chunk of chunks) {
      let from = 0
      for (let to = chunk.indexOf(0x0a); to >= 0; to = chunk.indexOf(0x0a, from)) {
        leaves.push(leafHashAt(chunk, from, to))
        from = to + 1
      }
    }
    const segment = this.#current()
    for (const leaf of leaves) tree.append(leaf)
    let end = segment.bytes
    try {
      writeAt(segment.leaves, Buffer.from(leaves.join(''), 'latin1'), (this.#tree.size - segment.first) * leafBytes)
      for (let rest = chunks; rest.length > 0; ) {
        const written = writevSync(segment.handle, rest, end)
        end += written
        rest = withoutFirst(rest, written)
      }
    } catch (error) {
      if (!isCut(segment)) this.#drop(segment)
      throw error
    }
    if (this.#options.isSynced) this.#sync(segment)
    segment.bytes = end
    this.#lastBytes = end
    this.#tree = tree
    if (this.#options.isSynced) this.#synced = tree.size
  }

  /**
   * Publishes what is there.
   * @returns the signed checkpoint; undefined: nothing is new since the last
   * @throws errors of the file system
   */
  checkpoint(): string | undefined {
    if (this.#tree.size === this.#published) return undefined
    if (this.#isUnsure) throw new Error('a sync has failed, and nobody knows what is on the disk until the log is opened again')
    if (this.#synced < this.#tree.size && this.#segment !== undefined) {
      this.#sync(this.#segment)
      this.#synced = this.#tree.size
    }
    const { folder, signers } = this.#options
    const [first] = signers as readonly [NoteSigner]
    const note = signNote(checkpointText({ origin: first.name, size: this.#tree.size, root: this.#tree.root() }), signers)
    writeWhole(join(folder, logFiles.checkpoint), note)
    this.#published = this.#tree.size
    return note
  }

  /** What a rule says is kept no longer; undefined: everything is. */
  findExpired(rule: RetentionRule): Expired | undefined {
    const { folder } = this.#options
    return findExpired(folder, readSegments(folder).segments, rule)
  }

  /**
   * Removes the segments before one, when the record that says so is signed for.
   * @returns how many
   * @throws errors of the file system
   */
  removeBefore(file: string): number {
    const { folder } = this.#options
    if (this.#published < this.#tree.size) throw new Error('what says that segments are removed is not signed for')
    return removeBefore(folder, readSegments(folder).segments, file)
  }

  close(): void {
    try {
      this.checkpoint()
    } finally {
      if (this.#segment !== undefined) close(this.#segment)
      this.#segment = undefined
    }
  }

  /** What is not for certain on the disk is not believed to be there later: the segment ends where it was before. */
  #sync(segment: OpenSegment): void {
    try {
      fdatasyncSync(segment.handle)
    } catch (error) {
      isCut(segment)
      this.#drop(segment)
      this.#isUnsure = this.#synced < this.#tree.size
      throw error
    }
  }

  /** Another one follows; the index says how much of this one counts. */
  #drop(segment: OpenSegment): void {
    this.#segment = undefined
    close(segment)
  }

  #current(): OpenSegment {
    const { folder, maxFileBytes, maxFileAgeMs } = this.#options
    const now = Date.now()
    const segment = this.#segment
    if (segment !== undefined && segment.bytes < maxFileBytes && now - segment.openedAtMs < maxFileAgeMs) return segment
    if (segment !== undefined) {
      const note = this.checkpoint() ?? readFileSync(join(folder, logFiles.checkpoint), 'utf8')
      appendSynced(join(folder, logFiles.history), note)
    }
    const file = segmentName(now, ++this.#segmentCount)
    const { size: first, roots } = this.#tree
    const handle = openSync(join(folder, file), 'wx', 0o600)
    let leaves: number | undefined
    try {
      if (!existsSync(this.#treeFolder)) mkdirSync(this.#treeFolder, { mode: 0o700 })
      leaves = openSync(join(folder, leavesName(file)), 'wx', 0o600)
      syncFolder(folder)
      syncFolder(this.#treeFolder)
      appendSynced(join(folder, logFiles.index), segmentLine({ file, first, roots, previousBytes: this.#lastBytes }))
    } catch (error) {
      closeSync(handle)
      if (leaves !== undefined) closeSync(leaves)
      // It is tried again, with other names.
      for (const name of [file, leavesName(file)]) rmSync(join(folder, name), { force: true })
      throw error
    }
    if (segment !== undefined) close(segment)
    this.#lastBytes = 0
    this.#segment = { file, handle, leaves, first, openedAtMs: now, bytes: 0 }
    return this.#segment
  }

  #recover(): void {
    const { folder } = this.#options
    const { segments, bytes, torn } = readSegments(folder)
    if (torn > 0) truncateSync(join(folder, logFiles.index), bytes)
    const published = this.#readCheckpoint()
    const last = segments.at(-1)
    if (last === undefined) {
      if (published !== undefined) throw broken(`there is a checkpoint and no \`${logFiles.index}\``)
      // Lines from before there was a tree.
      this.#lastSeq = lastSeqOf(folder, listSegments(folder))
      return
    }
    const keptFrom = readKeptFrom(folder)
    if (keptFrom !== undefined && segments.every(({ file }) => file !== keptFrom)) throw broken(`\`${logFiles.keptFrom}\` names no segment`)
    // A crash may have left some of them.
    if (keptFrom !== undefined) removeBefore(folder, segments, keptFrom)
    checkSizes(folder, segments, keptFrom)
    const from = firstToCheck(folder, segments, published, keptFrom)
    let tree = new GrowingTree()
    let rootAt: Digest | undefined
    for (const segment of segments.slice(from)) {
      if (segment === segments[from]) tree = beginning(segment)
      else if (!tree.isAt(segment.first, segment.roots)) throw broken(`\`${segment.file}\` does not begin where the one before ends`)
      if (tree.size === published?.size) rootAt = tree.root()
      const isLast = segment === last
      const limit = isLast ? undefined : segments[segments.indexOf(segment) + 1]?.previousBytes
      const leaves = new Leaves()
      const ends = eachLine(
        join(folder, segment.file),
        (buffer, start, end) => {
          const leaf = leafHashAt(buffer, start, end)
          tree.append(leaf)
          leaves.add(leaf)
          if (tree.size === published?.size) rootAt = tree.root()
        },
        limit,
      )
      if (isLast) {
        if (ends.torn > 0) {
          truncateSync(join(folder, segment.file), ends.whole)
          this.#recovered = { file: segment.file, bytes: ends.torn }
        }
        this.#lastBytes = ends.whole
      }
      this.#checkLeaves(segment, leaves, isLast)
    }
    if (published !== undefined && published.size > tree.size)
      throw broken(`its checkpoint is of ${published.size} entries, and ${tree.size} are there`)
    if (published !== undefined && rootAt !== published.root)
      throw broken(`what is there is not what the checkpoint of ${published.size} entries says`)
    this.#tree = tree
    this.#synced = 0
    this.#published = published?.size ?? 0
    this.#lastSeq = lastSeqOf(
      folder,
      segments.map(({ file }) => file).filter((file) => keptFrom === undefined || file >= keptFrom),
    )
    this.#segmentCount = segments.length
    this.#reopen(last)
  }

  /** Those of the newest segment may be fewer than its entries: they are not synced. */
  #checkLeaves({ file, first }: Segment, leaves: Leaves, isLast: boolean): void {
    const path = join(this.#options.folder, leavesName(file))
    const there = existsSync(path) ? readFileSync(path) : Buffer.alloc(0)
    const known = Math.min(Math.floor(there.length / leafBytes), leaves.size)
    for (let i = 0; i < known; i++) {
      if (there.toString('latin1', i * leafBytes, (i + 1) * leafBytes) !== leaves.at(i))
        throw broken(`entry ${first + i}, line ${i + 1} of \`${file}\`, is not what was written`)
    }
    if (isLast) writeFileSync(path, leaves.bytes, { mode: 0o600 })
  }

  /** What a run before wrote goes on to be written to, so that it is synced before it is signed for. */
  #reopen({ file, first }: Segment): void {
    const path = join(this.#options.folder, file)
    const leaves = openSync(join(this.#options.folder, leavesName(file)), 'r+')
    this.#segment = {
      file,
      handle: openSync(path, 'r+'),
      leaves,
      first,
      openedAtMs: statSync(path).birthtimeMs,
      bytes: this.#lastBytes ?? 0,
    }
  }

  #readCheckpoint(): Checkpoint | undefined {
    const path = join(this.#options.folder, logFiles.checkpoint)
    if (!existsSync(path)) return undefined
    const { signers } = this.#options
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
}

function close({ handle, leaves }: OpenSegment): void {
  closeSync(handle)
  closeSync(leaves)
}

function writeAt(handle: number, bytes: Buffer, at: number): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(handle, bytes, written, bytes.length - written, at + written)
}

/** Takes back what was written behind the last whole batch. */
function isCut({ handle, bytes }: OpenSegment): boolean {
  try {
    ftruncateSync(handle, bytes)
    return true
  } catch {
    return false
  }
}

function broken(what: string): PdpError {
  return new PdpError('ERR_LOG_BROKEN', `nothing is added to a decision log that was changed: ${what}; \`verdict log verify\` says more`)
}

function beginning({ file, first, roots }: Segment): GrowingTree {
  try {
    return new GrowingTree(first, roots)
  } catch {
    throw broken(`the index says what cannot be of \`${file}\``)
  }
}

/** All segments that are kept are there, with as many bytes as they had, at least. */
function checkSizes(folder: string, segments: readonly Segment[], keptFrom: string | undefined): void {
  for (const [i, { file }] of segments.entries()) {
    if (keptFrom !== undefined && file < keptFrom) continue
    const bytes = statSync(join(folder, file), { throwIfNoEntry: false })?.size
    if (bytes === undefined) throw broken(`\`${file}\` is not there`)
    const wanted = segments[i + 1]?.previousBytes
    if (wanted !== undefined && bytes < wanted) throw broken(`\`${file}\` has ${bytes} bytes, and had ${wanted}`)
  }
}

/** The segment from which on all is read: the newest within the bound, and whatever is behind the checkpoint. */
function firstToCheck(
  folder: string,
  segments: readonly Segment[],
  published: Checkpoint | undefined,
  keptFrom: string | undefined,
): number {
  let from = segments.length - 1
  let bytes = statSync(join(folder, (segments[from] as Segment).file)).size
  while (from > 0) {
    if ((segments[from] as Segment).file === keptFrom) break
    bytes += statSync(join(folder, (segments[from - 1] as Segment).file)).size
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
