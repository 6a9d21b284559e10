// From the bytes of a policy.wasm to a module that is metered, compiled and known to speak OPA's ABI.
import { PdpError } from '../errors.ts'
import { readDataEnd, readMemoryImport } from '../wasm/memory-section.ts'
import { meter } from '../wasm/meter.ts'
import { makeExact } from './exact-runtime.ts'

export interface PolicyModule {
  readonly wasm: WebAssembly.Module
  /** Pages of 64 KiB that the module asks for, or that its own data takes where it asks for too few. */
  readonly minMemoryPages: number
  /** Where the module's own data ends in memory. */
  readonly constantsEnd: number
}

const pageBytes = 65_536
const requiredExports = ['opa_eval', 'opa_json_dump', 'opa_value_dump', 'opa_value_parse', 'opa_malloc', 'builtins', 'entrypoints']
const hostFunctions: ReadonlySet<string> = new Set([
  'memory',
  'opa_abort',
  'opa_println',
  'opa_builtin0',
  'opa_builtin1',
  'opa_builtin2',
  'opa_builtin3',
  'opa_builtin4',
])

/**
 * @param bytes as `opa build -t wasm` or the toolchain made them
 * @throws PdpError ERR_POLICY_INVALID when they are not WebAssembly, not OPA's ABI 1.2 or newer, or want
 * something that the host does not have
 */
export async function compilePolicyModule(bytes: Uint8Array): Promise<PolicyModule> {
  if (!WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>)) throw invalid('policy.wasm is not a valid WebAssembly module')
  let prepared: Uint8Array
  try {
    prepared = meter(makeExact(bytes))
  } catch (cause) {
    // Of a module that is not OPA's at all, what it wants and lacks says more than what could not be changed in it.
    checkInterface(await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>))
    throw invalid(`policy.wasm cannot be prepared: ${(cause as Error).message}; is it as OPA's compiler wrote it?`, cause)
  }
  const wasm = await WebAssembly.compile(prepared as Uint8Array<ArrayBuffer>)
  checkInterface(wasm)
  const constantsEnd = readDataEnd(bytes)
  return { wasm, minMemoryPages: Math.max(readMemoryImport(bytes) ?? 0, Math.ceil(constantsEnd / pageBytes)), constantsEnd }
}

function checkInterface(wasm: WebAssembly.Module): void {
  for (const { module, name } of WebAssembly.Module.imports(wasm)) {
    if (module !== 'env' || !hostFunctions.has(name))
      throw invalid(`policy.wasm imports \`${module}.${name}\`, which is not part of OPA's ABI`)
  }
  const exports = new Set(WebAssembly.Module.exports(wasm).map((e) => e.name))
  for (const name of requiredExports) {
    if (!exports.has(name)) throw invalid(`policy.wasm does not export \`${name}\`: is it of OPA's ABI 1.2 or newer?`)
  }
}

function invalid(message: string, cause?: unknown): PdpError {
  return new PdpError('ERR_POLICY_INVALID', message, { cause })
}
