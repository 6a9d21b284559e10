// How long to wait behind failures in a row. Stands alone, as all of the client does.

/**
 * Twice as long each time, less up to a half by chance, so that many who wait do not come back together.
 * @param failures in a row, from 0
 * @returns milliseconds, from half of `leastMs` to `mostMs`
 */
export function growingPauseMs(failures: number, leastMs: number, mostMs: number): number {
  return Math.min(mostMs, leastMs * 2 ** Math.min(failures, 30)) * (0.5 + Math.random() / 2)
}
