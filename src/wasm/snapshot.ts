// The state of a metered instance at one moment, and the way back to it.
//
// A trap leaves an instance half-way: its C stack pointer is wrong, its allocator may be in the middle of a list.
// Putting memory and mutable globals back to a moment between two calls makes it as good as new, in the time of a
// memcpy, on the thread that serves. Tables are not covered: neither OPA's runtime nor Go's writes to them.
import { globalExportPrefix, stepsExport } from './meter.ts'

export interface Snapshot {
  /** Copies memory and globals back. What memory has grown by since stays, zeroed. */
  restore(): void
}

/**
 * @param upTo bytes of memory to keep, from address 0; what lies behind is left alone by `restore` (for a
 * region that is garbage between calls). Default: all, and `restore` zeroes what memory grew by.
 */
export function takeSnapshot(instance: WebAssembly.Instance, memory: WebAssembly.Memory, upTo?: number): Snapshot {
  const kept = new Uint8Array(memory.buffer).slice(0, upTo)
  const globals: [WebAssembly.Global, number | bigint][] = []
  for (const [name, value] of Object.entries(instance.exports)) {
    if (name.startsWith(globalExportPrefix)) globals.push([value as WebAssembly.Global, (value as WebAssembly.Global).value])
  }
  return {
    restore() {
      const bytes = new Uint8Array(memory.buffer)
      bytes.set(kept)
      if (upTo === undefined) bytes.fill(0, kept.length)
      for (const [global, value] of globals) global.value = value
    },
  }
}

/** The steps that a metered instance has left. */
export function stepsLeft(instance: WebAssembly.Instance): WebAssembly.Global {
  return instance.exports[stepsExport] as WebAssembly.Global
}
