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
  writeSync,
  writevSync,
} from 'node:fs'
import { join } from 'node:path'
import { appendSynced, syncFolder, writeWhole } from './durable-files.ts'
import { withoutFirst } from './line-chunks.ts'
import { leafBytes, leavesName, logFiles, readSegments, type Segment, segmentLine, segmentName, treeFolder } from './log-files.ts'
import { type Recovered, recoverLog } from './log-recovery.ts'
import { type Expired, findExpired, type RetentionRule, removeBefore } from './retention.ts'
import { type Digest, GrowingTree, leafHashAt } from './tree/merkle.ts'
import { checkpointText, type NoteSigner, signNote, verifierText } from './tree/note.ts'

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
    const { folder, signers } = this.#options
    const { tree, last, lastBytes, lastSeq, published, segments, recovered } = recoverLog(folder, signers)
    this.#tree = tree
    this.#published = published
    this.#lastSeq = lastSeq
    this.#segmentCount = segments
    this.#recovered = recovered
    if (last === undefined) return
    this.#lastBytes = lastBytes
    this.#reopen(last)
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
