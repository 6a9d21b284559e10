// Whether a decision log is what was written: every line against the hash of its entry, the tree against the signed checkpoint, and the
// checkpoint against earlier ones that somebody else kept. Reads only.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import { eachLine, headLength, leafBytes, leavesName, listSegments, logFiles, readSegments, type Segment, seqOf } from './log-files.ts'
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
export function verifyLog({ folder, keys, earlier = [], record, onProgress = () => {} }: VerifyOptions): LogReport {
  const faults: LogFault[] = []
  const counts = new Map<string, number>()
  const fault = (one: LogFault) => {
    const count = (counts.get(one.code) ?? 0) + 1
    counts.set(one.code, count)
    if (count <= maxOfKind) faults.push(one)
  }
  // First, so that all that it covers is there, though a service goes on writing meanwhile.
  const checkpoint = newest(folder, keys, fault)
  const segments = segmentsOf(folder, fault)
  const kept = earlier.map(({ name, note }) => ({ name, ...believed(note, keys) }))
  const past = history(folder, keys)
  const wanted = new Set([checkpoint?.size, ...[...kept, ...past].map(({ size }) => size)])
  const roots = new Map<number, Digest>([[0, emptyRoot]])
  const all = record === undefined ? undefined : new Leaves()
  const tree = new GrowingTree()
  let isAsWritten = true
  let found: number | undefined
  let seq: number | undefined
  for (const [i, segment] of segments.entries()) {
    // What is wrong in one segment is wrong in the tree from there on, and is not told again for each that follows.
    if (isAsWritten && !tree.isAt(segment.first, segment.roots)) {
      isAsWritten = false
      fault({
        code: 'index',
        entry: tree.size,
        file: segment.file,
        message: `\`${segment.file}\` begins with other entries than the ones before it end with`,
      })
    }
    const path = join(folder, segment.file)
    if (!existsSync(path)) {
      isAsWritten = false
      fault({ code: 'segment_missing', entry: segment.first, file: segment.file, message: `\`${segment.file}\` is not there` })
      continue
    }
    const leaves = leavesOf(folder, segment)
    let line = 0
    let isTold = false
    const { torn, whole } = eachLine(
      path,
      (bytes, from, to) => {
        const leaf = leafHashAt(bytes, from, to)
        const head = bytes.toString('utf8', from, Math.min(to, from + headLength))
        const written = leaves?.at(line)
        line++
        if (written !== undefined && written !== leaf && !isTold) {
          isTold = true
          isAsWritten = false
          const entry = segment.first + line - 1
          const place = { entry, file: segment.file, line, id: idOf(head) }
          fault({ code: 'changed', ...place, message: `entry ${entry}, line ${line} of \`${segment.file}\`, is not what was written` })
        }
        const number = seqOf(head)
        if (number !== undefined) {
          if (seq !== undefined && number !== seq + 1 && !isTold)
            fault({
              code: 'out_of_order',
              entry: segment.first + line - 1,
              file: segment.file,
              line,
              message: `line ${line} of \`${segment.file}\` has the number ${number}, and follows ${seq}`,
            })
          seq = number
        }
        if (record !== undefined && head.startsWith(`{"id":"${record}"`)) found = tree.size
        tree.append(leaf)
        all?.add(leaf)
        if (wanted.has(tree.size)) roots.set(tree.size, tree.root())
        if (tree.size % progressEvery === 0) onProgress(tree.size)
      },
      segments[i + 1]?.previousBytes,
    )
    const next = segments[i + 1]
    // What is behind the checkpoint may be under way just now, in part.
    const settled = next?.first ?? Math.min(checkpoint?.size ?? 0, segment.first + (leaves?.count ?? 0))
    if (segment.first + line < settled && !isTold)
      fault({
        code: 'missing',
        entry: segment.first + line,
        file: segment.file,
        line: line + 1,
        message: `\`${segment.file}\` has ${line} entries, and had ${settled - segment.first}`,
      })
    if (segment.first + line < settled) isAsWritten = false
    if (next !== undefined && (torn > 0 || whole < (next.previousBytes ?? 0)))
      fault({
        code: torn > 0 ? 'added' : 'missing',
        file: segment.file,
        entry: tree.size,
        message: `\`${segment.file}\` does not end with a whole line of its own`,
      })
  }
  judge(tree, checkpoint, past, roots, fault)
  for (const one of kept) compare(one, tree, roots, fault)
  if (checkpoint === undefined && tree.size > 0 && faults.length === 0)
    fault({ code: 'signature', message: 'nobody has signed for what is there' })
  const inclusion = all === undefined || record === undefined ? undefined : prove(all, found, checkpoint?.size ?? all.size, record)
  return {
    entries: tree.size,
    segments: segments.length,
    root: base64(tree.root()),
    checkpoint: checkpoint === undefined ? undefined : { size: checkpoint.size, signers: checkpoint.signers },
    unsigned: Math.max(0, tree.size - (checkpoint?.size ?? 0)),
    faults,
    inclusion,
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

function leavesOf(folder: string, { file }: Segment): { readonly count: number; at(index: number): Digest | undefined } | undefined {
  const path = join(folder, leavesName(file))
  if (!existsSync(path)) return undefined
  const bytes = readFileSync(path)
  const count = Math.floor(bytes.length / leafBytes)
  return { count, at: (index) => (index < count ? bytes.toString('latin1', index * leafBytes, (index + 1) * leafBytes) : undefined) }
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

function compare(earlier: Believed & { readonly name: string }, tree: GrowingTree, roots: ReadonlyMap<number, Digest>, fault: Tell): void {
  const { name, size, root } = earlier
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
