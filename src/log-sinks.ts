// The sinks of the configuration, each with its follower of the log.
import type { Config } from './config.ts'
import { LogFollower } from './sinks/follower.ts'
import { createSink } from './sinks/sinks.ts'
import type { Metrics } from './telemetry/metrics.ts'

/** What is handed on at once, at most; a server takes a MiB as a rule. */
const maxLines = 1_000
const maxBytes = 512 * 1024

/**
 * @param onError told of the first failure of a sink, until it works again, and of each record that is put aside
 * @returns ends them
 */
export function startSinks(
  { sinks }: Config['decisionLog'],
  folder: string,
  metrics: Metrics,
  onError: (name: string, error: Error) => void,
): () => Promise<void> {
  const running = sinks.map(({ name, type, url, tokenFile, tls }) => {
    const sink = createSink({ type, url, tokenFile, tls })
    const fail = (error: Error) => onError(name, error)
    return { name, sink, follower: new LogFollower({ name, folder, deliver: sink.deliver, maxLines, maxBytes, onError: fail }) }
  })
  metrics.onCollect(() => {
    for (const { name, follower } of running) {
      metrics.cell('verdict.sink.delivered', name).value = follower.counts.delivered
      metrics.cell('verdict.sink.dead', name).value = follower.counts.dead
      metrics.cell('verdict.sink.failures', name).value = follower.counts.failures
      metrics.cell('verdict.sink.lag', name).value = follower.lagBytes
    }
  })
  return async () => {
    await Promise.all(
      running.map(async ({ sink, follower }) => {
        await follower.close()
        sink.close()
      }),
    )
  }
}
