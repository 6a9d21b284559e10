// How long to wait behind failures in a row. The thin client, which stands alone, has its own (client/growing-pause.ts).

/**
 * Twice as long each time, less up to a half by chance, so that many who wait do not come back together.
 * @param failures in a row, from 0
 * @returns milliseconds, from half of `leastMs` to `mostMs`
 */
export function growingPauseMs(failures: number, leastMs: number, mostMs: number): number {
  return Math.min(mostMs, leastMs * 2 ** Math.min(failures, 30)) * (0.5 + Math.random() / 2)
}
