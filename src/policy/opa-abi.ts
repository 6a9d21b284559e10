// The one file that touches @open-policy-agent/opa-wasm: its LoadedPolicy sets up an instance.
// Its declarations for ES modules do not match its exports, so what is used is declared here and loaded as CommonJS.
import { createRequire } from 'node:module'

/** A policy without data. Addresses are in the instance's memory. */
export interface LoadedPolicy {
  readonly entrypoints: Readonly<Record<string, number>>
  /** End of what the module itself keeps in memory. */
  readonly baseHeapPtr: number
}

interface OpaWasm {
  LoadedPolicy: new (instance: WebAssembly.Instance, memory: WebAssembly.Memory, abiMinorVersion: number) => LoadedPolicy
}

const { LoadedPolicy } = createRequire(import.meta.url)('@open-policy-agent/opa-wasm') as OpaWasm

/** LoadedPolicy asks for it to choose opa_eval; Verdict refuses modules without opa_eval before they come here. */
const abiMinorVersion = 2

export function loadPolicy(instance: WebAssembly.Instance, memory: WebAssembly.Memory): LoadedPolicy {
  return new LoadedPolicy(instance, memory, abiMinorVersion)
}
