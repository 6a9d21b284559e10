// What a call to the host costs in steps of the evaluation's budget, and which calls are refused outright.
//
// Both follow from the function and its arguments alone, so that every replica gives the same verdict. A step is
// about 10 ns, so that a budget of steps bounds the time of host functions as it bounds that of the policy.

/** For reading an argument or a result. */
export const stepsPerByte = 10
const stepsPerCall = 1_000

/** Steps for a call, before it is made. */
export function chargeOf(_name: string, args: readonly Uint8Array[]): number {
  let bytes = 0
  for (const arg of args) bytes += arg.length
  return stepsPerCall + bytes * stepsPerByte
}

/** @returns why a call is not made; undefined: it may be */
export function refusalOf(_name: string, _args: readonly Uint8Array[]): string | undefined {
  return undefined
}
