// Work of many parts on the serving thread: it lets others have the thread when it has used it for this long.
import { setImmediate as nextTurn } from 'node:timers/promises'

const maxTurnMs = 10

export class Turn {
  #started = performance.now()

  get isLong(): boolean {
    return performance.now() - this.#started > maxTurnMs
  }

  /** Resolves when all that waited has had its turn. */
  async next(): Promise<void> {
    await nextTurn()
    this.#started = performance.now()
  }
}
