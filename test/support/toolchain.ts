// One toolchain for a test file, and policies compiled with it.
import { afterAll } from '@jest/globals'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import type { PolicyLimits } from '../../src/policy/policy-limits.ts'
import { compilePolicyModule, type PolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost, type ReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'

export const toolchain = new Toolchain()
let host: Promise<ReactorHost> | undefined

afterAll(() => toolchain.close())

export const defaultLimits: PolicyLimits = { maxSteps: 10_000_000, maxMemoryBytes: 64 * 2 ** 20 }

export function builtinHost(): Promise<ReactorHost> {
  host ??= createReactorHost(toolchain, '{"version":"test"}')
  return host
}

const modules = new Map<string, Promise<PolicyModule>>()

/** Property tests start one policy many times. */
function compiled(rego: string, entrypoints: readonly string[]): Promise<PolicyModule> {
  const key = JSON.stringify([rego, entrypoints])
  let module = modules.get(key)
  if (module === undefined) {
    const built = toolchain.build({ files: { 'policy.rego': rego } }, entrypoints, { skipReads: true })
    module = built.then(({ wasm }) => compilePolicyModule(wasm))
    modules.set(key, module)
  }
  return module
}

/** Compiles one module, unless it was, and starts it. */
export async function startPolicy(
  rego: string,
  entrypoints: readonly string[] = [],
  options: { data?: string; limits?: PolicyLimits } = {},
): Promise<{ instance: PolicyInstance; evaluate(entrypoint: string, input?: string): string | undefined }> {
  const instance = new PolicyInstance(
    await compiled(rego, entrypoints),
    options.data ?? '{}',
    await builtinHost(),
    options.limits ?? defaultLimits,
  )
  return {
    instance,
    evaluate: (entrypoint, input) => instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, 1_772_618_400_000).result,
  }
}
