// One toolchain for a test file, and policies compiled with it.
import { afterAll } from '@jest/globals'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import type { PolicyLimits } from '../../src/policy/policy-limits.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
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

/** Compiles one module and starts it. */
export async function startPolicy(
  rego: string,
  entrypoints: readonly string[] = [],
  options: { data?: string; limits?: PolicyLimits } = {},
): Promise<{ instance: PolicyInstance; evaluate(entrypoint: string, input?: string): string | undefined }> {
  const { wasm } = await toolchain.build({ files: { 'policy.rego': rego } }, entrypoints, { skipReads: true })
  const instance = new PolicyInstance(
    await compilePolicyModule(wasm),
    options.data ?? '{}',
    await builtinHost(),
    options.limits ?? defaultLimits,
  )
  return {
    instance,
    evaluate: (entrypoint, input) => instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, 1_772_618_400_000).result,
  }
}
