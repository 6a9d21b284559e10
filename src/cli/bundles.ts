// verdict bundles: the life of bundles on a running service.
import type { Command } from 'commander'
import type { Bundle } from '../bundles/bundle.ts'
import { flipLine, type GateReport, type Replay, reportLines } from '../bundles/gate-report.ts'
import { readBundle } from '../bundles/read-bundle.ts'
import { PdpError } from '../errors.ts'
import type { ActInfo, RevisionInfo } from '../transport/http/bundle-routes.ts'
import { readInput } from './files.ts'
import { paint, print, printJson } from './output.ts'
import { printPushed, short } from './push.ts'
import { askServer, callServer, type ServerOptions, withServerOptions } from './server-client.ts'

interface Info {
  readonly bundles: readonly { readonly name: string; readonly revision: string; readonly digest: string; readonly epoch: number }[]
}

export function bundlesCommand(program: Command): void {
  const bundles = program.command('bundles').description('the life of bundles on a running service')
  const add = (usage: string, description: string, examples: string) =>
    withServerOptions(bundles.command(usage).description(description)).addHelpText('after', `\nExamples:\n  ${examples}`)
  add('list [name]', 'what is active, or the revisions of a bundle', 'verdict bundles list main').action(list)
  add('show <name> <digest>', 'a revision, and what its checks found', 'verdict bundles show main 3f2a9c').action(show)
  add(
    'diff <name> <from> [to]',
    'rules, data and recorded decisions of two revisions (default: to what is active)',
    'verdict bundles diff main 3f2a9c',
  ).action(diff)
  add('approve <name> <digest>', 'approve what another one pushed', 'verdict bundles approve main 3f2a9c').action(approve)
  add(
    'sign <name> <digest> <envelope>',
    'hand in an envelope that `verdict sign` wrote',
    'verdict bundles sign main 3f2a9c bundle.audit.json',
  ).action(sign)
  add('activate <name> <digest>', 'let a revision that is ready answer', 'verdict bundles activate main 3f2a9c').action(activate)
  add('rollback <name> [digest]', 'go back to what was active before', 'verdict bundles rollback main').action(rollback)
  add(
    'shadow <name> [digest]',
    'let a revision answer unheard beside what is active; without a digest: what it would say otherwise',
    'verdict bundles shadow main 3f2a9c',
  )
    .option('--end', 'end it')
    .action(shadow)
  add('gc', 'remove old revisions', 'verdict bundles gc --keep 10 --max-age-days 90')
    .option('--keep <count>', 'revisions of each bundle that stay', '10')
    .option('--max-age-days <days>', 'remove what is older', '90')
    .action(collect)
  add('acts [name]', 'who did what, newest last', 'verdict bundles acts main').action(acts)
}

const at = (name: string, rest = '') => `/v1/bundles/${encodeURIComponent(name)}${rest}`

async function list(name: string | undefined, options: ServerOptions): Promise<void> {
  if (name === undefined) {
    const info = await askServer<Info>(options, 'GET', '/v1/bundles')
    if (options.json) printJson(info)
    else for (const one of info.bundles) print(`${paint('bold', one.name)} ${short(one.digest)} epoch ${one.epoch} ${one.revision}`)
    return
  }
  const revisions = await revisionsOf(name, options)
  if (options.json) printJson({ revisions })
  else for (const revision of revisions) print(line(revision))
}

function line({ digest, revision, status, active, epoch, pushed_at, pushed_by, approved_by, signed_by }: RevisionInfo): string {
  const said = active ? paint('green', `active, epoch ${epoch}`) : status
  const approved = approved_by.length > 0 ? `, approved by ${approved_by.join(', ')}` : ''
  const signed = signed_by.length > 0 ? `, signed by ${signed_by.join(', ')}` : ''
  return `${short(digest)} ${said} ${pushed_at} by ${pushed_by}${approved}${signed} ${revision}`.trimEnd()
}

async function show(name: string, digest: string, options: ServerOptions): Promise<void> {
  const revision = await askServer<RevisionInfo>(options, 'GET', at(name, `/revisions/${await whole(name, digest, options)}`))
  if (options.json) return printJson(revision)
  print(line(revision))
  if (revision.report !== undefined) for (const one of reportLines(revision.report as GateReport)) print(`  ${one}`)
}

async function approve(name: string, digest: string, options: ServerOptions): Promise<void> {
  finish(await askServer<RevisionInfo>(options, 'POST', at(name, '/approve'), { digest: await whole(name, digest, options) }), options)
}

async function sign(name: string, digest: string, file: string, options: ServerOptions): Promise<void> {
  const text = (await readInput(file)).toString('utf8')
  let envelope: unknown
  try {
    envelope = JSON.parse(text)
  } catch (cause) {
    throw new PdpError('ERR_USAGE', `\`${file}\` is no envelope: ${(cause as Error).message}`, { cause })
  }
  const body = { digest: await whole(name, digest, options), envelope }
  finish(await askServer<RevisionInfo>(options, 'POST', at(name, '/signatures'), body), options)
}

async function activate(name: string, digest: string, options: ServerOptions): Promise<void> {
  finish(await askServer<RevisionInfo>(options, 'POST', at(name, '/activate'), { digest: await whole(name, digest, options) }), options)
}

async function rollback(name: string, digest: string | undefined, options: ServerOptions): Promise<void> {
  const body = digest === undefined ? {} : { digest: await whole(name, digest, options) }
  finish(await askServer<RevisionInfo>(options, 'POST', at(name, '/rollback'), body), options)
}

function finish(revision: RevisionInfo, options: ServerOptions): void {
  if (options.json) printJson(revision)
  else printPushed(revision)
}

interface ShadowAnswer {
  readonly digest: string
  readonly compared: number
  readonly passed_over: number
  readonly differences: Readonly<Record<string, number>>
  readonly examples: readonly { readonly id: string; readonly entrypoint: string; readonly active: string; readonly candidate: string }[]
}

async function shadow(name: string, digest: string | undefined, options: ServerOptions & { end?: boolean }): Promise<void> {
  const path = at(name, '/shadow')
  const report =
    digest === undefined
      ? await askServer<ShadowAnswer>(options, options.end ? 'DELETE' : 'GET', path)
      : await askServer<ShadowAnswer>(options, 'PUT', path, { digest: await whole(name, digest, options) })
  if (options.json) return printJson(report)
  print(`${short(report.digest)} compared ${report.compared}, passed over ${report.passed_over}`)
  for (const [kind, count] of Object.entries(report.differences)) print(`  ${count} × ${kind}`)
  for (const { id, entrypoint, active, candidate } of report.examples) print(`  ${active} → ${candidate}: ${entrypoint}, decision ${id}`)
}

async function collect(options: ServerOptions & { keep: string; maxAgeDays: string }): Promise<void> {
  const [keep, days] = [Number(options.keep), Number(options.maxAgeDays)]
  if (!Number.isInteger(keep) || !(days >= 0)) throw new PdpError('ERR_USAGE', '--keep and --max-age-days must be numbers')
  const answer = await askServer<{ removed: RevisionInfo[] }>(options, 'POST', '/v1/bundles/gc', { keep, max_age_days: days })
  if (options.json) return printJson(answer)
  for (const { name, digest } of answer.removed) print(`removed ${name} ${short(digest)}`)
  print(`${answer.removed.length} removed`)
}

async function acts(name: string | undefined, options: ServerOptions): Promise<void> {
  const all: ActInfo[] = []
  for (let after = 0; ; ) {
    const page = await askServer<{ acts: ActInfo[] }>(
      options,
      'GET',
      `/v1/acts?limit=1000&after=${after}${name ? `&name=${encodeURIComponent(name)}` : ''}`,
    )
    all.push(...page.acts)
    const last = page.acts.at(-1)
    if (last === undefined) break
    after = last.seq
  }
  if (options.json) return printJson({ acts: all })
  for (const { seq, time, actor, act, bundle, digest, epoch, detail } of all) {
    print(
      `${seq} ${time} ${actor} ${paint('bold', act)} ${bundle} ${short(digest)}${epoch === undefined ? '' : ` epoch ${epoch}`} ${detail}`.trimEnd(),
    )
  }
}

async function diff(name: string, from: string, to: string | undefined, options: ServerOptions): Promise<void> {
  const [older, newer] = [
    await whole(name, from, options),
    to === undefined ? await activeOf(name, options) : await whole(name, to, options),
  ]
  const load = async (digest: string): Promise<Bundle> =>
    readBundle(Buffer.from(await (await callServer(options, 'GET', at(name, `/revisions/${digest}/archive`))).arrayBuffer()))
  const [before, after] = [await load(older), await load(newer)]
  const rules = diffModules(before.modules, after.modules)
  const data = diffData(JSON.parse(before.data), JSON.parse(after.data), '')
  const decisions = await compare(name, older, newer, options)
  if (options.json) return printJson({ rules, data, decisions })
  for (const { file, removed, added } of rules) {
    print(paint('bold', file))
    for (const one of removed) print(paint('red', `- ${one}`))
    for (const one of added) print(paint('green', `+ ${one}`))
  }
  for (const { path, before, after } of data)
    print(`${path || '/'}: ${JSON.stringify(before) ?? 'nothing'} → ${JSON.stringify(after) ?? 'nothing'}`)
  if (rules.length + data.length === 0) print('rules and data are the same')
  if (decisions === undefined) return print('decisions are not compared: that takes the role `audit`')
  print(`${decisions.replayed} recorded decisions asked again, ${Object.values(decisions.flips).reduce((sum, one) => sum + one, 0)} change`)
  for (const flip of decisions.examples) print(`  ${flipLine(flip)}`)
}

/** @returns undefined where whoever asks may not see recorded decisions */
async function compare(name: string, from: string, to: string, options: ServerOptions): Promise<Replay | undefined> {
  try {
    return await askServer<Replay>(options, 'POST', at(name, '/compare'), { from, to })
  } catch (thrown) {
    if (thrown instanceof PdpError && thrown.code === 'ERR_FORBIDDEN') return undefined
    throw thrown
  }
}

async function activeOf(name: string, options: ServerOptions): Promise<string> {
  const active = (await revisionsOf(name, options)).find((revision) => revision.active)
  if (active === undefined) throw new PdpError('ERR_UNKNOWN_REVISION', `nothing is active of \`${name}\``)
  return active.digest
}

type Modules = Readonly<Record<string, string>>

/** Lines that only one of them has, by file. */
function diffModules(before: Modules, after: Modules) {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((file) => {
    const [a, b] = [(before[file] ?? '').split('\n'), (after[file] ?? '').split('\n')]
    const [removed, added] = [without(a, b), without(b, a)]
    return removed.length + added.length > 0 ? [{ file, removed, added }] : []
  })
}

/** What is left of a list when each line of another is taken out once. */
function without(lines: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const one of others) counts.set(one, (counts.get(one) ?? 0) + 1)
  return lines.filter((one) => {
    const count = counts.get(one) ?? 0
    counts.set(one, count - 1)
    return count <= 0 && one !== ''
  })
}

/** Values that differ, by JSON pointer; lists are compared as a whole. */
function diffData(before: unknown, after: unknown, path: string): { path: string; before: unknown; after: unknown }[] {
  if (isObject(before) && isObject(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((key) => {
      const pointer = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
      return diffData(Object.hasOwn(before, key) ? before[key] : undefined, Object.hasOwn(after, key) ? after[key] : undefined, pointer)
    })
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, before, after }]
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function revisionsOf(name: string, options: ServerOptions): Promise<readonly RevisionInfo[]> {
  return (await askServer<{ revisions: readonly RevisionInfo[] }>(options, 'GET', at(name))).revisions
}

/** A digest from its first digits. */
async function whole(name: string, prefix: string, options: ServerOptions): Promise<string> {
  const digits = prefix.replace(/^sha256:/, '')
  if (/^[0-9a-f]{64}$/.test(digits)) return `sha256:${digits}`
  const found = (await revisionsOf(name, options)).filter(({ digest }) => digest.startsWith(`sha256:${digits}`))
  const [only] = found
  if (only !== undefined && found.length === 1) return only.digest
  throw new PdpError('ERR_UNKNOWN_REVISION', `\`${prefix}\` names ${found.length} revisions of \`${name}\`: verdict bundles list ${name}`)
}
