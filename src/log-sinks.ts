// The sinks of the configuration, each with its follower of the log.
import { readCheckpoint } from './audit/log-files.ts'
import type { Config } from './config.ts'
import { CheckpointSink, toFile, toServer } from './sinks/checkpoints.ts'
import { LogFollower } from './sinks/follower.ts'
import { createSink } from './sinks/sinks.ts'
import type { Metrics } from './telemetry/metrics.ts'

/** What is handed on at once, at most; a server takes a MiB as a rule. */
const maxLines = 1_000
const maxBytes = 512 * 1024

export interface RunningSinks {
  /** The oldest segment that one of them has yet to read; undefined: there are none. */
  neededFrom(): string | undefined
  /** A signed checkpoint, for those that keep them. */
  offer(checkpoint: string): void
  close(): Promise<void>
}

/** @param onError told of the first failure of a sink, until it works again, and of each record that is put aside */
export function startSinks(
  { sinks, checkpointSinks }: Config['decisionLog'],
  folder: string,
  metrics: Metrics,
  onError: (name: string, error: Error) => void,
): RunningSinks {
  const running = sinks.map(({ name, type, url, tokenFile, tls }) => {
    const sink = createSink({ type, url, tokenFile, tls })
    const fail = (error: Error) => onError(name, error)
    return { name, sink, follower: new LogFollower({ name, folder, deliver: sink.deliver, maxLines, maxBytes, onError: fail }) }
  })
  const keepers = checkpointSinks.map(({ name, url, file, tokenFile, tls, intervalMs }) => {
    const deliver = file === undefined ? toServer({ url: url as string, tokenFile, tls }) : toFile(file)
    return { name, sink: new CheckpointSink(deliver, intervalMs, (error) => onError(name, error)) }
  })
  const offer = (note: string) => {
    for (const { sink } of keepers) sink.offer(note)
  }
  // What an earlier run left, in case that was not handed on.
  const newest = keepers.length === 0 ? undefined : readCheckpoint(folder)
  if (newest !== undefined) offer(newest)
  metrics.onCollect(() => {
    for (const { name, sink } of keepers) {
      metrics.cell('verdict.checkpoint_sink.delivered', name).value = sink.counts.delivered
      metrics.cell('verdict.checkpoint_sink.failures', name).value = sink.counts.failures
      metrics.cell('verdict.checkpoint_sink.age', name).value = sink.ageMs / 1_000
    }
    for (const { name, follower } of running) {
      metrics.cell('verdict.sink.delivered', name).value = follower.counts.delivered
      metrics.cell('verdict.sink.dead', name).value = follower.counts.dead
      metrics.cell('verdict.sink.failures', name).value = follower.counts.failures
      metrics.cell('verdict.sink.lag', name).value = follower.lagBytes
    }
  })
  return {
    neededFrom: () => (running.length === 0 ? undefined : running.map(({ follower }) => follower.readFrom).sort()[0]),
    offer,
    close: async () => {
      await Promise.all([
        ...running.map(async ({ sink, follower }) => {
          await follower.close()
          sink.close()
        }),
        ...keepers.map(({ sink }) => sink.close()),
      ])
    },
  }
}
