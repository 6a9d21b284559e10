// Whether the clock on the wall was put forward or back, by a clock that only goes forward; records say so, since their times then tell
// neither their order nor what lies between them.

/** Less is what a clock does that is kept right slowly. Milliseconds. */
const leastStepMs = 1_000

/**
 * @param now milliseconds since 1970
 * @param elapsed milliseconds that only go forward
 * @returns a function that tells by how much the clock was put since it was last asked; undefined: by nothing that matters
 */
export function watchClock(
  now: () => number = () => Date.now(),
  elapsed: () => number = () => performance.now(),
): () => number | undefined {
  let offset = now() - elapsed()
  return () => {
    const before = offset
    offset = now() - elapsed()
    const step = offset - before
    return Math.abs(step) >= leastStepMs ? Math.round(step) : undefined
  }
}
