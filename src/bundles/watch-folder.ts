// Notices when a policy folder changes. Not a build: it calls back once things are quiet.
import { type FSWatcher, watch } from 'node:fs'
import { isPolicyFile } from './folder.ts'

/** Editors write a file in several steps; this is how long none may follow. */
const quietMs = 100

/**
 * @param onChange called after changes, never while an earlier call runs
 * @returns stops watching
 */
export function watchFolder(folder: string, onChange: () => Promise<void>): () => void {
  let timer: NodeJS.Timeout | undefined
  let running = false
  let again = false
  const run = async () => {
    if (running) {
      again = true
      return
    }
    running = true
    try {
      await onChange()
    } finally {
      running = false
      if (again) {
        again = false
        void run()
      }
    }
  }
  const watcher: FSWatcher = watch(folder, { recursive: true, persistent: false }, (_event, name) => {
    if (name !== null && !isPolicyFile(name.replaceAll('\\', '/'))) return
    clearTimeout(timer)
    timer = setTimeout(() => void run(), quietMs)
  })
  return () => {
    clearTimeout(timer)
    watcher.close()
  }
}
