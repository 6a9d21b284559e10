// verdict eval --jsonl: a policy, data and input in each line; answers in the same order, as they become ready.
// Two toolchains compile side by side while the results of earlier lines are evaluated and written.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { z } from 'zod'
import { configSchema } from '../config.ts'
import { localLimits, parseStrictJson } from '../decision/strict-json.ts'
import { PdpError, toPdpError } from '../errors.ts'
import type { BuiltinHost } from '../policy/builtin-host.ts'
import { PolicyInstance } from '../policy/policy-instance.ts'
import { compilePolicyModule } from '../policy/policy-module.ts'
import { createReactorHost } from '../rego/reactor-host.ts'
import { Toolchain } from '../rego/toolchain.ts'

const lineSchema = z.looseObject({
  modules: z.record(z.string(), z.string()),
  entrypoint: z.string().min(1),
  data: z.record(z.string(), z.unknown()).optional(),
  strict_builtin_errors: z.boolean().optional(),
})

const toolchainCount = 2
/** Lines that may be under way at once; more would only wait in memory. */
const maxUnderWay = 8

export async function evalLines(source: Readable, target: Writable): Promise<void> {
  const toolchains = Array.from({ length: toolchainCount }, () => new Toolchain())
  const host = await createReactorHost(toolchains[0] as Toolchain, JSON.stringify({ env: { ...process.env } }))
  const underWay: Promise<string>[] = []
  const writeFirst = async () => {
    if (!target.write(`${await underWay.shift()}\n`)) await once(target, 'drain')
  }
  try {
    let count = 0
    for await (const line of createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line.trim() === '') continue
      underWay.push(answerLine(line, toolchains[count++ % toolchainCount] as Toolchain, host))
      if (underWay.length >= maxUnderWay) await writeFirst()
    }
    while (underWay.length > 0) await writeFirst()
  } finally {
    await Promise.all(toolchains.map((toolchain) => toolchain.close()))
  }
}

async function answerLine(line: string, toolchain: Toolchain, host: BuiltinHost): Promise<string> {
  try {
    const result = await evaluate(line, toolchain, host)
    return result === undefined ? '{"undefined":true}' : `{"result":${result}}`
  } catch (thrown) {
    const { code, message } = toPdpError(thrown)
    return JSON.stringify({ error: { code, message } })
  }
}

async function evaluate(line: string, toolchain: Toolchain, host: BuiltinHost): Promise<string | undefined> {
  const { value, members: texts } = parseStrictJson(line, localLimits)
  const parsed = lineSchema.safeParse(value)
  if (!parsed.success) throw new PdpError('ERR_INVALID_REQUEST', z.prettifyError(parsed.error))
  const { modules, entrypoint, strict_builtin_errors: strict } = parsed.data
  const { wasm } = await toolchain.build({ files: modules }, [entrypoint], { skipReads: true })
  const { evaluation } = configSchema.parse({})
  const instance = new PolicyInstance(await compilePolicyModule(wasm), texts.get('data') ?? '{}', host, evaluation)
  return instance.evaluate(instance.entrypoints.get(entrypoint) ?? 0, texts.get('input'), Date.now(), strict).result
}
