// Waits for what a test wants to see, and no longer.
import { setTimeout as sleep } from 'node:timers/promises'

/** @throws Error where it is not so within `bound` milliseconds */
export async function until(bound: number, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const began = performance.now()
  while (!(await isSo())) {
    if (performance.now() - began > bound) throw new Error(`not within ${bound} ms`)
    await sleep(2)
  }
}
