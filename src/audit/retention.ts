// Which segments of a log are kept no longer, and their removal. The hashes of their entries stay, so the tree stays whole: what is left
// verifies, and so does every checkpoint of before. That they were to be removed is a record of the log itself; without one they are missing.
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { syncFolder, writeWhole } from './durable-files.ts'
import { idsName } from './id-index.ts'
import { keptOf, listSegments, logFiles, readKeptFrom, type Segment, segmentTime } from './log-files.ts'

export interface RetentionRule {
  /** Segments that hold nothing newer may go. Milliseconds since 1970. */
  readonly olderThanMs: number | undefined
  /** While more is there, the oldest may go. Bytes of all segments. */
  readonly maxBytes: number | undefined
  /** The oldest segment that somebody has yet to read; undefined: none. */
  readonly neededFrom: string | undefined
}

export interface Expired {
  /** The first segment that is kept. */
  readonly before: string
  /** All that were before it, from the first of the log on. */
  readonly entries: number
  readonly files: number
  readonly bytes: number
}

/** @returns undefined: everything is kept */
export function findExpired(folder: string, segments: readonly Segment[], rule: RetentionRule): Expired | undefined {
  const { olderThanMs, maxBytes, neededFrom } = rule
  const keptFrom = readKeptFrom(folder)
  const present = keptOf(segments, keptFrom)
  const sizes = present.map(({ file }) => statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0)
  let total = sizes.reduce((sum, size) => sum + size, 0)
  let files = 0
  let bytes = 0
  // The newest is being written.
  for (const { file } of present.slice(0, -1)) {
    const endsMs = segmentTime((present[files + 1] as Segment).file)
    const isOld = olderThanMs !== undefined && endsMs < olderThanMs
    const isTooMuch = maxBytes !== undefined && total > maxBytes
    if ((!isOld && !isTooMuch) || (neededFrom !== undefined && file >= neededFrom)) break
    total -= sizes[files] as number
    bytes += sizes[files] as number
    files++
  }
  const first = present[files]
  return files === 0 || first === undefined ? undefined : { before: first.file, entries: first.first, files, bytes }
}

/**
 * @returns how many were removed
 * @throws errors of the file system; what is left of it is done when the log is opened
 */
export function removeBefore(folder: string, segments: readonly Segment[], before: string): number {
  writeWhole(join(folder, logFiles.keptFrom), `${before}\n`)
  return removeOld(folder, segments, before)
}

/**
 * Removes what is still there of the segments before one.
 * @returns how many
 * @throws errors of the file system
 */
export function removeOld(folder: string, segments: readonly Segment[], before: string): number {
  const there = new Set(listSegments(folder))
  const old = segments.filter(({ file }) => file < before && there.has(file))
  for (const { file } of old) for (const name of [file, idsName(file)]) rmSync(join(folder, name), { force: true })
  if (old.length > 0) syncFolder(folder)
  return old.length
}
