// Files that others replace while the service runs: certificates, keys, authorities, as Kubernetes, Vault's agent and SPIRE deliver
// them. They are asked for rather than listened to: links that are swapped, and folders that are mounted, give no reliable events.
import { statSync } from 'node:fs'

/** How soon a change is seen. Milliseconds. */
const lookEveryMs = 200

/** @returns ends it */
export function watchFiles(paths: readonly string[], onChange: () => void): () => void {
  let before = stateOf(paths)
  const timer = setInterval(() => {
    const now = stateOf(paths)
    if (now === before) return
    before = now
    onChange()
  }, lookEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

function stateOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const info = statSync(path, { bigint: true, throwIfNoEntry: false })
      return info === undefined ? '' : `${info.ino}:${info.size}:${info.mtimeNs}`
    })
    .join()
}
