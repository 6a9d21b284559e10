// OPA's official test cases, read from the Go module that the toolchain is built from; none is kept here.
// @see https://github.com/open-policy-agent/opa/tree/main/v1/test/cases
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { elementsOf, membersOf } from '../../src/decision/json-text.ts'
import type { Toolchain } from '../../src/rego/toolchain.ts'

export interface ConformanceCase {
  /** Folder of the case: what it is about. */
  readonly group: string
  readonly note: string
  readonly query: string
  readonly modules: readonly string[]
  /** JSON text. */
  readonly data: string | undefined
  /** JSON text. */
  readonly input: string | undefined
  /** A Rego term, instead of `input`. */
  readonly inputTerm: string | undefined
  /** JSON text of an array of objects of bindings. */
  readonly wantResult: string | undefined
  readonly wantDefined: boolean | undefined
  /** Code or text of the error that must come. */
  readonly wantError: string | undefined
  readonly sortBindings: boolean
  readonly strict: boolean
  readonly experimental: boolean
  readonly env: Readonly<Record<string, string>>
}

/** @throws Error when Go or the module cannot be had */
export async function loadCases(toolchain: Toolchain): Promise<{ version: string; cases: ConformanceCase[] }> {
  const goFolder = join(import.meta.dirname, '../../src/rego/toolchain')
  const version = /github\.com\/open-policy-agent\/opa (v\S+)/.exec(readFileSync(join(goFolder, 'go.mod'), 'utf8'))?.[1] as string
  const downloaded = execFileSync('go', ['mod', 'download', '-json', `github.com/open-policy-agent/opa@${version}`], {
    cwd: goFolder,
    encoding: 'utf8',
  })
  const root = join((JSON.parse(downloaded) as { Dir: string }).Dir, 'v1/test/cases/testdata/v1')
  const cases: ConformanceCase[] = []
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!file.endsWith('.yaml')) continue
    const text = await toolchain.yamlToJson(readFileSync(join(root, file), 'utf8'))
    const group = relative('.', file).split('/')[0] as string
    for (const one of elementsOf(membersOf(text).get('cases') ?? '[]')) cases.push(toCase(group, membersOf(one)))
  }
  return { version, cases }
}

function toCase(group: string, members: ReadonlyMap<string, string>): ConformanceCase {
  const read = <T>(name: string): T | undefined => {
    const text = members.get(name)
    return text === undefined || text === 'null' ? undefined : (JSON.parse(text) as T)
  }
  return {
    group,
    note: read('note') as string,
    query: read('query') as string,
    modules: read<string[]>('modules') ?? [],
    data: members.get('data'),
    input: members.get('input'),
    inputTerm: read('input_term'),
    wantResult: read('want_result') === undefined ? undefined : members.get('want_result'),
    wantDefined: read('want_defined'),
    wantError: read('want_error_code') ?? read('want_error'),
    sortBindings: read('sort_bindings') ?? false,
    strict: read('strict_error') ?? false,
    experimental: read('experimental_keywords') ?? false,
    env: read('env') ?? {},
  }
}
