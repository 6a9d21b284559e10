// The newest decisions that can be asked again, read back from the files of the log, newest first. Not an index: it looks at
// the end of the log, for checks of candidates.
import { join } from 'node:path'
import { membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { linesFromEnd, listSegments } from './log-files.ts'

export interface ReplayableRecord {
  readonly id: string
  readonly timeMs: number
  readonly entrypoint: string
  /** As the door passed it on, with its own digits. */
  readonly input: JsonText | undefined
  /** What the service established itself. */
  readonly trusted: JsonText | undefined
  /** What functions answered whose answer varies. */
  readonly nd: JsonText | undefined
  readonly subject: string
  readonly action: string
  readonly resource: string
}

export interface RecentRecords {
  readonly records: readonly ReplayableRecord[]
  /** Records of the bundle that were masked or truncated. */
  readonly passedOver: number
}

/** Of the log that is looked at. */
const maxBytes = 256 * 1024 * 1024

/** @param count at most so many; fewer when the log has fewer within its last 256 MiB */
export function recentRecords(folder: string, bundle: string, count: number): RecentRecords {
  const records: ReplayableRecord[] = []
  let passedOver = 0
  let bytes = 0
  for (const name of listSegments(folder).reverse()) {
    for (const line of linesFromEnd(join(folder, name))) {
      bytes += line.length
      if (records.length >= count || bytes > maxBytes) return { records, passedOver }
      // Errors have no decision to compare with; without a policy there is nothing to ask.
      if (!line.includes(`"bundle":${JSON.stringify(bundle)}`) || line.includes('"outcome":"error"')) continue
      const record = toReplayable(line, bundle)
      if (record === 'other') continue
      if (record === 'not replayable') passedOver++
      else records.push(record)
    }
  }
  return { records, passedOver }
}

function toReplayable(line: string, bundle: string): ReplayableRecord | 'other' | 'not replayable' {
  const members = parse(line)
  const policy = members.policy as { bundle?: string; entrypoint?: string } | undefined
  if (policy?.bundle !== bundle || policy.entrypoint === undefined || members.outcome === 'error') return 'other'
  // What was given again was made before, and is in the record of then with what it was made from.
  if (members.cached === true) return 'other'
  if (members.replayable !== true) return 'not replayable'
  const texts = membersOf(line)
  const [subject, action, resource] = [members.subject, members.action, members.resource] as Named[]
  return {
    id: String(members.id),
    timeMs: Date.parse(String(members.time)),
    entrypoint: policy.entrypoint,
    input: texts.get('input'),
    trusted: texts.get('trusted'),
    nd: texts.get('nd'),
    subject: nameOf(subject),
    action: String(action?.name ?? ''),
    resource: nameOf(resource),
  }
}

type Named = { readonly type?: unknown; readonly id?: unknown; readonly name?: unknown } | undefined

function nameOf(part: Named): string {
  return part === undefined ? '' : `${String(part.type)}:${String(part.id)}`
}

function parse(line: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(line)
  } catch {
    // A line that is being written, or was cut by a crash.
    return {}
  }
}
