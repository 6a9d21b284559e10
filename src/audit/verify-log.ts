// Whether a decision log is what was written: every line against the hash of its entry, the tree against the signed checkpoint, and the
// checkpoint against earlier ones that somebody else kept. Reads only.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import {
  eachLine,
  headLength,
  listSegments,
  logFiles,
  readCheckpoint,
  readKeptFrom,
  readLeaves,
  readSegments,
  type Segment,
  seqOf,
  type WrittenLeaves,
} from './log-files.ts'
import { retiredEntriesOf } from './own-records.ts'
import { type Digest, emptyRoot, GrowingTree, Leaves, leafHashAt } from './tree/merkle.ts'
import { type Checkpoint, type NoteKey, parseCheckpoint, parseNote, verifyNote } from './tree/note.ts'

export interface VerifyOptions {
  readonly folder: string
  /** Of the checkpoints. */
  readonly keys: readonly NoteKey[]
  /** Signed checkpoints that were kept elsewhere, by a name for reports. */
  readonly earlier?: readonly { readonly name: string; readonly note: Buffer }[]
  /** ID of a record whose place in the tree is to be proved. */
  readonly record?: string | undefined
  /** Told now and then of how many entries were read. */
  readonly onProgress?: (entries: number) => void
}

/** Something that is not as it was written. */
export interface LogFault {
  readonly code:
    | 'changed'
    | 'missing'
    | 'added'
    | 'out_of_order'
    | 'segment_missing'
    | 'index'
    | 'signature'
    | 'root'
    | 'rolled_back'
    | 'rewritten'
  readonly message: string
  /** Of the first entry that is concerned, from 0. */
  readonly entry?: number | undefined
  readonly file?: string | undefined
  /** From 1. */
  readonly line?: number | undefined
  readonly id?: string | undefined
}

export interface Inclusion {
  readonly entry: number
  readonly size: number
  /** Base64. */
  readonly leaf: string
  readonly proof: readonly string[]
}

export interface LogReport {
  readonly entries: number
  readonly segments: number
  /** Entries whose lines are kept no longer, as the log says: of them there is a hash. */
  readonly retired: number
  /** Base64. */
  readonly root: string
  /** What is signed for; undefined: nothing that can be believed. */
  readonly checkpoint: { readonly size: number; readonly signers: readonly string[] } | undefined
  /** Entries behind the checkpoint, for which nobody has signed yet. */
  readonly unsigned: number
  readonly faults: readonly LogFault[]
  readonly inclusion?: Inclusion | undefined
}

const progressEvery = 100_000
/** Of each kind, so many faults are told. */
const maxOfKind = 10

/** @throws PdpError ERR_FILE for a folder that holds no log, and for notes that are none */
export function verifyLog(options: VerifyOptions): LogReport {
  const { folder } = options
  for (;;) {
    const [keptFrom, isSigned] = [readKeptFrom(folder), readCheckpoint(folder) !== undefined]
    const report = new Verification(options).run()
    // A service removed segments meanwhile: what says so may be behind the checkpoint that was read. Or it signed for the first time.
    if (readKeptFrom(folder) === keptFrom && (isSigned || readCheckpoint(folder) === undefined)) return report
  }
}

/** What a segment is held against while its lines are read. */
interface Reading {
  readonly segment: Segment
  /** Hashes of its entries, as they were written; undefined: they are not there. */
  readonly leaves: WrittenLeaves | undefined
  line: number
  /** What is wrong in it was told. */
  isTold: boolean
}

class Verification {
  readonly #options: VerifyOptions
  readonly #faults: LogFault[] = []
  readonly #counts = new Map<string, number>()
  readonly #tree = new GrowingTree()
  /** By size: of the sizes that checkpoints speak of. */
  readonly #roots = new Map<number, Digest>([[0, emptyRoot]])
  readonly #wanted: ReadonlySet<number | undefined>
  readonly #checkpoint: Believed | undefined
  readonly #kept: readonly (Believed & { readonly name: string })[]
  readonly #past: readonly Believed[]
  readonly #segments: readonly Segment[]
  /** All entries, where one is to be proved. */
  readonly #all: Leaves | undefined
  #found: number | undefined
  #isAsWritten = true
  #seq: number | undefined
  /** Segments before all that are there: records must say that they were removed. */
  readonly #gone: Segment[] = []
  #retired = 0

  constructor(options: VerifyOptions) {
    this.#options = options
    const { folder, keys, earlier = [], record } = options
    // First, so that all that it covers is there, though a service goes on writing meanwhile.
    this.#checkpoint = newest(folder, keys, this.#fault)
    this.#segments = segmentsOf(folder, this.#fault)
    this.#kept = earlier.map(({ name, note }) => ({ name, ...believed(note, keys) }))
    this.#past = history(folder, keys)
    this.#wanted = new Set([this.#checkpoint?.size, ...[...this.#kept, ...this.#past].map(({ size }) => size)])
    this.#all = record === undefined ? undefined : new Leaves()
  }

  run(): LogReport {
    for (const [i, segment] of this.#segments.entries()) this.#readSegment(segment, this.#segments[i + 1])
    const unexplained = this.#gone.find(({ first }) => first >= this.#retired)
    if (unexplained !== undefined) this.#missing(unexplained)
    const tree = this.#tree
    const checkpoint = this.#checkpoint
    judge(tree, checkpoint, this.#past, this.#roots, this.#fault)
    for (const one of this.#kept) compare(one, tree, checkpoint?.size ?? 0, this.#roots, this.#fault)
    if (checkpoint === undefined && tree.size > 0 && this.#faults.length === 0)
      this.#fault({ code: 'signature', message: 'nobody has signed for what is there' })
    const { record } = this.#options
    const all = this.#all
    return {
      entries: tree.size,
      segments: this.#segments.length,
      retired: this.#gone.length === 0 ? 0 : this.#retired,
      root: base64(tree.root()),
      checkpoint: checkpoint === undefined ? undefined : { size: checkpoint.size, signers: checkpoint.signers },
      unsigned: Math.max(0, tree.size - (checkpoint?.size ?? 0)),
      faults: this.#faults,
      inclusion: all === undefined || record === undefined ? undefined : prove(all, this.#found, checkpoint?.size ?? all.size, record),
    }
  }

  readonly #fault = (one: LogFault): void => {
    const count = (this.#counts.get(one.code) ?? 0) + 1
    this.#counts.set(one.code, count)
    if (count <= maxOfKind) this.#faults.push(one)
  }

  #readSegment(segment: Segment, next: Segment | undefined): void {
    const { folder } = this.#options
    // What is wrong in one segment is wrong in the tree from there on, and is not told again for each that follows.
    if (this.#isAsWritten && !this.#tree.isAt(segment.first, segment.roots)) {
      this.#isAsWritten = false
      this.#fault({
        code: 'index',
        entry: this.#tree.size,
        file: segment.file,
        message: `\`${segment.file}\` begins with other entries than the ones before it end with`,
      })
    }
    const leaves = readLeaves(folder, segment.file)
    const path = join(folder, segment.file)
    const reading: Reading = { segment, leaves, line: 0, isTold: false }
    try {
      const ends = eachLine(path, (bytes, from, to) => this.#readLine(reading, bytes, from, to), next?.previousBytes)
      this.#readEnd(reading, ends, next)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      this.#passOver(segment, next, leaves)
    }
  }

  /** One that is not there: where it was removed on purpose the hashes of its entries are there. */
  #passOver(segment: Segment, next: Segment | undefined, leaves: WrittenLeaves | undefined): void {
    const isFirst = this.#tree.size === segment.first && this.#gone.length === this.#segments.indexOf(segment)
    if (!isFirst || next === undefined || leaves?.count !== next.first - segment.first) {
      this.#isAsWritten = false
      this.#missing(segment)
      return
    }
    this.#gone.push(segment)
    for (let i = 0; i < leaves.count; i++) this.#append(leaves.at(i) as Digest)
  }

  #missing({ first, file }: Segment): void {
    this.#fault({ code: 'segment_missing', entry: first, file, message: `\`${file}\` is not there` })
  }

  #readLine(reading: Reading, bytes: Buffer, from: number, to: number): void {
    const { segment, leaves } = reading
    const { record } = this.#options
    const leaf = leafHashAt(bytes, from, to)
    const head = bytes.toString('utf8', from, Math.min(to, from + headLength))
    const written = leaves?.at(reading.line)
    reading.line++
    const place = { entry: segment.first + reading.line - 1, file: segment.file, line: reading.line }
    if (written !== undefined && written !== leaf && !reading.isTold) {
      reading.isTold = true
      this.#isAsWritten = false
      const message = `entry ${place.entry}, line ${place.line} of \`${place.file}\`, is not what was written`
      this.#fault({ code: 'changed', ...place, id: idOf(head), message })
    }
    const number = seqOf(head)
    if (number !== undefined) {
      if (this.#seq !== undefined && number !== this.#seq + 1 && !reading.isTold) {
        const message = `line ${place.line} of \`${place.file}\` has the number ${number}, and follows ${this.#seq}`
        this.#fault({ code: 'out_of_order', ...place, message })
      }
      this.#seq = number
    }
    // Only what is signed for can say so.
    if (this.#gone.length > 0 && this.#tree.size < (this.#checkpoint?.size ?? 0))
      this.#retired = Math.max(this.#retired, retiredEntriesOf(bytes, from, to) ?? 0)
    if (record !== undefined && head.startsWith(`{"id":"${record}"`)) this.#found = this.#tree.size
    this.#append(leaf)
  }

  #append(leaf: Digest): void {
    const tree = this.#tree
    tree.append(leaf)
    this.#all?.add(leaf)
    if (this.#wanted.has(tree.size)) this.#roots.set(tree.size, tree.root())
    if (tree.size % progressEvery === 0) this.#options.onProgress?.(tree.size)
  }

  #readEnd(
    { segment, leaves, line, isTold }: Reading,
    { torn, whole }: { readonly torn: number; readonly whole: number },
    next: Segment | undefined,
  ): void {
    const { first, file } = segment
    // What is behind the checkpoint may be under way just now, in part.
    const settled = next?.first ?? Math.min(this.#checkpoint?.size ?? 0, first + (leaves?.count ?? 0))
    if (first + line < settled) {
      this.#isAsWritten = false
      const message = `\`${file}\` has ${line} entries, and had ${settled - first}`
      if (!isTold) this.#fault({ code: 'missing', entry: first + line, file, line: line + 1, message })
    }
    if (next !== undefined && (torn > 0 || whole < (next.previousBytes ?? 0))) {
      const message = `\`${file}\` does not end with a whole line of its own`
      this.#fault({ code: torn > 0 ? 'added' : 'missing', file, entry: this.#tree.size, message })
    }
  }
}

function idOf(head: string): string | undefined {
  return /^\{"id":"([^"\\]{1,64})"/.exec(head)?.[1]
}

type Believed = Checkpoint & { readonly signers: readonly string[] }
type Tell = (fault: LogFault) => void

function segmentsOf(folder: string, fault: Tell): readonly Segment[] {
  if (!existsSync(join(folder, logFiles.index)) && !existsSync(join(folder, logFiles.checkpoint)) && listSegmentsOr(folder).length === 0)
    throw new PdpError('ERR_FILE', `\`${folder}\` holds no decision log`)
  try {
    // Those with lines, before the index is read: a service that goes on writing has a segment in the index before its first line.
    const written = listSegmentsOr(folder).filter((file) => (statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0) > 0)
    const { segments } = readSegments(folder)
    const known = new Set(segments.map(({ file }) => file))
    for (const file of written) {
      // From before there was a tree.
      const isOlder = segments[0] === undefined || file < segments[0].file
      if (known.has(file) || isOlder) continue
      fault({ code: 'added', file, message: `\`${file}\` is in no index` })
    }
    return segments
  } catch (error) {
    if (!(error instanceof PdpError)) throw error
    fault({ code: 'index', file: logFiles.index, message: error.message })
    return []
  }
}

function listSegmentsOr(folder: string): string[] {
  try {
    return listSegments(folder)
  } catch (cause) {
    throw new PdpError('ERR_FILE', `\`${folder}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function newest(folder: string, keys: readonly NoteKey[], fault: Tell): Believed | undefined {
  const path = join(folder, logFiles.checkpoint)
  if (!existsSync(path)) return undefined
  try {
    return believed(readFileSync(path), keys)
  } catch (error) {
    fault({ code: 'signature', file: logFiles.checkpoint, message: `the checkpoint is not to be believed: ${(error as Error).message}` })
    return undefined
  }
}

/** @throws PdpError ERR_FILE */
function believed(note: Buffer, keys: readonly NoteKey[]): Believed {
  const parsed = parseNote(note)
  const signers = verifyNote(parsed, keys)
  return { ...parseCheckpoint(parsed.text), signers: signers.map(({ name, id }) => `${name}+${id}`) }
}

/** Checkpoints at the ends of segments, as far as they can be believed. */
function history(folder: string, keys: readonly NoteKey[]): Believed[] {
  const path = join(folder, logFiles.history)
  const notes = existsSync(path) ? (readFileSync(path, 'utf8').match(/(?:[^\n]+\n)+\n(?:— [^\n]+\n)+/gu) ?? []) : []
  return notes.flatMap((note) => {
    try {
      return [believed(Buffer.from(note), keys)]
    } catch {
      return []
    }
  })
}

function judge(
  tree: GrowingTree,
  checkpoint: Believed | undefined,
  past: readonly Believed[],
  roots: ReadonlyMap<number, Digest>,
  fault: Tell,
): void {
  if (checkpoint === undefined) return
  if (checkpoint.size > tree.size)
    fault({ code: 'missing', entry: tree.size, message: `the checkpoint is of ${checkpoint.size} entries, and ${tree.size} are there` })
  else if (roots.get(checkpoint.size) !== checkpoint.root) {
    const good = past.filter(({ size, root }) => roots.get(size) === root).map(({ size }) => size)
    const bad = past.filter(({ size, root }) => roots.get(size) !== root).map(({ size }) => size)
    const [from, to] = [Math.max(0, ...good), Math.min(checkpoint.size, ...bad)]
    fault({
      code: 'root',
      entry: from,
      message: `the ${checkpoint.size} entries that were signed for are not those that are there: something is different between entries ${from} and ${to - 1}`,
    })
  }
}

/** @param signedSize of the log's own checkpoint, which is never older than what was published of it */
function compare(
  { name, size, root }: Believed & { readonly name: string },
  tree: GrowingTree,
  signedSize: number,
  roots: ReadonlyMap<number, Digest>,
  fault: Tell,
): void {
  if (size > tree.size)
    fault({
      code: 'rolled_back',
      entry: tree.size,
      message: `\`${name}\` is of ${size} entries, and ${tree.size} are there: the log was rolled back`,
    })
  else if (roots.get(size) !== root)
    fault({
      code: 'rewritten',
      message: `\`${name}\` is of other ${size} entries than the first ${size} that are there: the log was rewritten`,
    })
  else if (size > signedSize)
    fault({
      code: 'rolled_back',
      entry: signedSize,
      message: `\`${name}\` is of ${size} entries, and the log's own checkpoint of ${signedSize}: the checkpoint was rolled back`,
    })
}

/** @throws PdpError ERR_NOT_FOUND */
function prove(all: Leaves, found: number | undefined, size: number, record: string): Inclusion {
  if (found === undefined) throw new PdpError('ERR_NOT_FOUND', `no record has the ID \`${record.slice(0, 64)}\``)
  const covered = found < size ? size : all.size
  return { entry: found, size: covered, leaf: base64(all.at(found)), proof: all.inclusionProof(found, covered).map(base64) }
}

function base64(digest: Digest): string {
  return Buffer.from(digest, 'latin1').toString('base64')
}
