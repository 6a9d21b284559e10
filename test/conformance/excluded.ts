// Official cases that cannot run here, by their note, each with its reason. At most five.
export const excluded: ReadonlyMap<string, string> = new Map([
  ['time/time caching', 'calls `test.sleep`, a function that exists only in the test program of OPA itself'],
  ['data/toplevel integer', 'a number as a key of an object in base documents; OPA excludes it for WebAssembly too (its issue 3711)'],
  ['data/nested integer', 'the same as `data/toplevel integer`'],
])
