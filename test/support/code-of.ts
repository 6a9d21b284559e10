// The code that a call fails with, for tables of what must be refused.

/** @returns the code of what `run` throws, or `accepted` */
export function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'accepted'
}
