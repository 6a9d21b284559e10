// The one file that touches @open-policy-agent/opa-wasm: its LoadedPolicy sets up an instance and its data.
// Its declarations for ES modules do not match its exports, so what is used is declared here and loaded as CommonJS.
import { createRequire } from 'node:module'

/** A policy whose data is loaded. Addresses are in the instance's memory. */
export interface LoadedPolicy {
  readonly entrypoints: Readonly<Record<string, number>>
  readonly dataAddr: number
  /** End of what the module itself keeps in memory. */
  readonly baseHeapPtr: number
  /** End of the data; evaluations write from here on. */
  readonly dataHeapPtr: number
  setData(data: ArrayBuffer): void
}

interface OpaWasm {
  LoadedPolicy: new (instance: WebAssembly.Instance, memory: WebAssembly.Memory, abiMinorVersion: number) => LoadedPolicy
}

const { LoadedPolicy } = createRequire(import.meta.url)('@open-policy-agent/opa-wasm') as OpaWasm

/** LoadedPolicy asks for it to choose opa_eval; Verdict refuses modules without opa_eval before they come here. */
const abiMinorVersion = 2

/** @param data JSON text */
export function loadPolicy(instance: WebAssembly.Instance, memory: WebAssembly.Memory, data: string): LoadedPolicy {
  const policy = new LoadedPolicy(instance, memory, abiMinorVersion)
  const bytes = new TextEncoder().encode(data)
  policy.setData(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  return policy
}
