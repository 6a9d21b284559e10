// verdict revocations, verdict quarantines: who is not answered any longer, on a running service.
import type { Command } from 'commander'
import { PdpError } from '../errors.ts'
import type { IsolationInfo } from '../transport/http/isolation-routes.ts'
import { paint, print, printJson } from './output.ts'
import { askServer, type ServerOptions, withServerOptions } from './server-client.ts'

interface AddOptions extends ServerOptions {
  reason?: string
  expiresInS?: string
  before?: string
  allow?: string[]
}

export function revocationsCommand(program: Command): void {
  const revocations = program.command('revocations').description('identities and tokens that are not answered any longer')
  const add = withAdd(
    revocations,
    'caller, client, subject, jti, kid, session, issued_before',
    '/v1/revocations',
    `  verdict revocations add caller spiffe://shop.example/ci/deploy --reason 'key leaked'
  verdict revocations add client 'https://issuer.example|shop' --expires-in-s 86400
  verdict revocations add issued_before shop.example --before 2026-11-24T12:00:00Z`,
  )
  add.option('--before <time>', 'of issued_before: tokens of the trust domain that were issued earlier')
  withListAndEnd(revocations, '/v1/revocations', 'end')
}

export function quarantinesCommand(program: Command): void {
  const quarantines = program.command('quarantines').description('identities under suspicion, denied but for what is listed')
  const add = withAdd(
    quarantines,
    'caller, client, subject',
    '/v1/quarantines',
    `  verdict quarantines add subject alice --allow read --expires-in-s 3600 --reason 'odd hours'`,
  )
  add.option('--allow <action>', 'an action that stays; may be repeated', (v: string, all: string[] = []) => [...all, v])
  withListAndEnd(quarantines, '/v1/quarantines', 'release')
}

function withAdd(to: Command, kinds: string, path: string, examples: string): Command {
  return withServerOptions(to.command('add <kind> <value>').description(`from now on, at every door; kinds: ${kinds}`))
    .option('--reason <text>', 'why, for those who look later')
    .option('--expires-in-s <seconds>', 'ends by itself')
    .addHelpText('after', `\nExamples:\n${examples}`)
    .action((kind: string, value: string, options: AddOptions) => addOne(path, kind, value, options))
}

function withListAndEnd(to: Command, path: string, word: string): void {
  withServerOptions(to.command('list').description('newest first')).action((options: ServerOptions) => list(path, options))
  withServerOptions(to.command(`${word} <id>`).description('ends one')).action((id: string, options: ServerOptions) =>
    end(path, id, options),
  )
}

async function addOne(path: string, kind: string, value: string, options: AddOptions): Promise<void> {
  const { reason, expiresInS, before, allow } = options
  if (expiresInS !== undefined && !/^[1-9]\d{0,9}$/.test(expiresInS))
    throw new PdpError('ERR_USAGE', `--expires-in-s must be a number of seconds, not \`${expiresInS}\``)
  const body = {
    kind,
    value,
    ...(reason !== undefined && { reason }),
    ...(expiresInS !== undefined && { expires_in_s: Number(expiresInS) }),
    ...(before !== undefined && { before }),
    ...(allow !== undefined && { allowed_actions: allow }),
  }
  show(await askServer<IsolationInfo>(options, 'POST', path, body), options)
}

async function list(path: string, options: ServerOptions): Promise<void> {
  const answer = await askServer<{ entries: readonly IsolationInfo[] }>(options, 'GET', path)
  if (options.json) printJson(answer)
  else for (const entry of answer.entries) print(line(entry))
}

async function end(path: string, id: string, options: ServerOptions): Promise<void> {
  show(await askServer<IsolationInfo>(options, 'DELETE', `${path}/${encodeURIComponent(id)}`), options)
}

function show(entry: IsolationInfo, options: ServerOptions): void {
  if (options.json) printJson(entry)
  else print(line(entry))
}

function line({ id, kind, value, before, allowed_actions, reason, author, at, expires_at, ended_by, ended_at }: IsolationInfo): string {
  const isOver = ended_at !== undefined || (expires_at !== undefined && Date.parse(expires_at) <= Date.now())
  const said = isOver ? paint('dim', 'over') : paint('red', 'holds')
  const parts = [
    `${id} ${said} ${paint('bold', `${kind} ${value}`)}`,
    before && `before ${before}`,
    allowed_actions?.length && `but ${allowed_actions.join(', ')}`,
    `by ${author} at ${at}`,
    expires_at && `until ${expires_at}`,
    ended_by && `ended by ${ended_by}`,
    reason && `(${reason})`,
  ]
  return parts.filter(Boolean).join(' ')
}
