// The decision log's retention, as the configuration says: segments that are too old or too many are removed, behind the sinks, and a
// record says so.
import type { FileLog } from './audit/file-log.ts'
import { retiredLine } from './audit/own-records.ts'
import type { Expired } from './audit/retention.ts'
import type { Config } from './config.ts'

/** How often it is looked at. Milliseconds. */
const [minCheckMs, maxCheckMs] = [1_000, 60_000]

interface Heard {
  onRemoved(what: Expired): void
  /** Told of the first failure of several in a row. */
  onError(error: Error): void
}

/**
 * @param neededFrom the oldest segment that some sink has yet to read; undefined: none
 * @returns ends it
 */
export function startRetention(
  { retention, shard }: Config['decisionLog'],
  decisionLog: FileLog,
  neededFrom: () => string | undefined,
  { onRemoved, onError }: Heard,
): () => Promise<void> {
  if (retention === undefined) return async () => {}
  const { maxAgeMs, maxBytes } = retention
  let isFailing = false
  const check = async () => {
    try {
      const olderThanMs = maxAgeMs === undefined ? undefined : Date.now() - maxAgeMs
      const removed = await decisionLog.retire({ olderThanMs, maxBytes, neededFrom: neededFrom() }, (expired) =>
        retiredLine(expired, { shard, seq: decisionLog.nextSeq(), timeMs: Date.now() }),
      )
      if (removed !== undefined) onRemoved(removed)
      isFailing = false
    } catch (error) {
      if (!isFailing) onError(error as Error)
      isFailing = true
    }
  }
  let checking = check()
  const everyMs = Math.min(maxCheckMs, Math.max(minCheckMs, (maxAgeMs ?? maxCheckMs) / 10))
  const timer = setInterval(() => {
    checking = checking.then(check)
  }, everyMs).unref()
  return async () => {
    clearInterval(timer)
    await checking
  }
}
