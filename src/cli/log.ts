// verdict log: the decision log on disk, without a service.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { indexSegment } from '../audit/id-index.ts'
import { eachLine, listSegments, logFiles } from '../audit/log-files.ts'
import { type NoteKey, parseVerifier } from '../audit/tree/note.ts'
import { Unsealer } from '../audit/unseal.ts'
import { type LogReport, verifyLog } from '../audit/verify-log.ts'
import { PdpError } from '../errors.ts'
import { readInput } from './files.ts'
import { defaultLog, mustBeLog } from './log-folder.ts'
import { query, stats, tail } from './log-query.ts'
import { exitCodes, paint, print, printJson } from './output.ts'

interface VerifyOptions {
  readonly key?: readonly string[]
  readonly checkpoint?: readonly string[]
  readonly record?: string
  readonly json?: boolean
}

export function logCommand(program: Command): void {
  const log = program.command('log').description('the decision log on disk')
  log.hook('preAction', (_, { processedArgs: [folder = defaultLog] }) => mustBeLog(folder))
  log
    .command('verify [folder]')
    .description(`whether a log is what was written (default: ${defaultLog})`)
    .option('--key <key...>', `keys of the checkpoints, as \`name+id+key\` or in a file (default: ${logFiles.verifiers} in the folder)`)
    .option('--checkpoint <file...>', 'checkpoints that were kept elsewhere: only they show that a log was rolled back or rewritten')
    .option('--record <id>', 'prove the place of a record in the tree')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  verdict log verify
  verdict log verify /var/lib/verdict/decisions --key pdp.vkey --checkpoint monday.checkpoint
  verdict log verify --record 855ab5e6-0000-4000-8000-000000000000 --json`,
    )
    .action(verify)
  log
    .command('decrypt [folder]')
    .description('print records with their encrypted values in clear')
    .requiredOption('--key <file...>', 'private keys (PEM) of recipients')
    .addHelpText(
      'after',
      '\nExamples:\n  verdict log decrypt --key auditor.pem > clear.ndjson\n\nValues whose data key was destroyed stay encrypted; how many there are is said on stderr.',
    )
    .action(decrypt)
  log
    .command('index [folder]')
    .description('make queries by an ID fast: an index of each whole segment that has none, a hundredth of its size')
    .addHelpText(
      'after',
      '\nExamples:\n  verdict log index\n  0 * * * * verdict log index /var/lib/verdict/decisions    # each hour, for cron',
    )
    .action(index)
  const found = (usage: string, description: string, examples: string) =>
    log
      .command(usage)
      .description(description)
      .option('--from <time>', 'not earlier than this: 2026-03-01T12:00:00Z, or so long ago: 15m, 2h, 1d')
      .option('--to <time>', 'earlier than this')
      .option('--id <id>', 'of the record')
      .option('--caller <id>', 'who asked')
      .option('--subject <id>', 'type:id, or the ID alone')
      .option('--resource <id>', 'type:id, or the ID alone')
      .option('--action <name>', 'name of the action')
      .option('--outcome <outcome>', 'allow, deny or error')
      .option('--reason <text>', 'one of the reasons')
      .option('--code <code>', 'of an error')
      .option('--correlation <id>', 'correlation ID')
      .option('--trace <id>', 'trace ID')
      .option('--policy <name>', 'bundle, or bundle:entry/point')
      .option('--json', 'print JSON')
      .addHelpText('after', `\nExamples:\n  ${examples}`)
  found('query [folder]', 'records that match, newest first', 'verdict log query --subject alice --outcome deny --from 1h')
    .option('--limit <count>', 'records that are shown', '100')
    .action((folder = defaultLog, options) => query(folder, options))
  found('tail [folder]', 'the newest records', 'verdict log tail -f --outcome error')
    .option('-n, --lines <count>', 'records before those that come', '10')
    .option('-f, --follow', 'go on with those that come')
    .action((folder = defaultLog, options) => tail(folder, options))
  found('stats [folder]', 'counts by outcome, policy, caller, reason and code, and how long it took', 'verdict log stats --from 1d').action(
    (folder = defaultLog, options) => stats(folder, options),
  )
  found(
    'replay [folder]',
    'make recorded decisions again: on their own archived bundle all must come out the same; with --on, what another one would change',
    'verdict log replay --from 1d\n  verdict log replay --on candidate.tar.gz --policy main --limit 100000',
  )
    .option('--limit <count>', 'newest records that are made again', '100000')
    .option('--archives <folder>', 'archives of bundles (default: bundles beside the folder of the log)')
    .option('--on <file>', 'a bundle (.tar.gz) to be asked instead')
    .option('--trusted-key <key>', 'key of the input for trusted facts, as it was configured', 'trusted')
    // It needs the engine, the others do not.
    .action(async (folder = defaultLog, options) => (await import('./log-replay.ts')).replay(folder, options))
}

function index(folder = defaultLog): void {
  const whole = listSegments(folder).slice(0, -1)
  const isShown = process.stderr.isTTY
  let made = 0
  for (const [i, file] of whole.entries()) {
    if (isShown) process.stderr.write(`\r${i + 1} of ${whole.length} segments`)
    if (indexSegment(folder, file)) made++
  }
  if (isShown) process.stderr.write('\r\x1b[K')
  print(`${made} of ${whole.length} whole segments had no index; the newest has none while it is written`)
}

async function verify(folder = defaultLog, options: VerifyOptions): Promise<void> {
  const isOwnKey = options.key === undefined
  const keys = keysOf(folder, options.key)
  const names = options.checkpoint ?? []
  const earlier = await Promise.all(names.map(async (name) => ({ name, note: await readInput(name) })))
  const isShown = process.stderr.isTTY && options.json !== true
  const report = verifyLog({
    folder,
    keys,
    earlier,
    record: options.record,
    onProgress: (entries) => void (isShown && process.stderr.write(`\r${entries.toLocaleString('en')} entries`)),
  })
  if (isShown) process.stderr.write('\r\x1b[K')
  if (options.json) printJson({ ...report, own_key: isOwnKey })
  else printReport(report, isOwnKey, names.length > 0)
  if (report.faults.length > 0) process.exitCode = exitCodes.no
}

function printReport(
  { entries, segments, retired, root, checkpoint, unsigned, faults, inclusion }: LogReport,
  isOwnKey: boolean,
  hasEarlier: boolean,
) {
  for (const { code, message, id } of faults) print(`${paint('red', code)}: ${message}${id === undefined ? '' : `, record ${id}`}`)
  print(`${entries.toLocaleString('en')} entries in ${segments} segment${segments === 1 ? '' : 's'}, root ${root}`)
  if (retired > 0) print(`the first ${retired.toLocaleString('en')} are kept no longer, as the log says: of them there are the hashes`)
  if (checkpoint !== undefined)
    print(`signed for ${checkpoint.size.toLocaleString('en')} by ${checkpoint.signers.join(', ')}; ${unsigned} not yet`)
  if (inclusion !== undefined)
    print(`entry ${inclusion.entry} of ${inclusion.size}, leaf ${inclusion.leaf}\n  ${inclusion.proof.join('\n  ')}`)
  if (faults.length === 0) print(paint('green', 'the log is what was written'))
  if (isOwnKey)
    print('The key is the one that lies beside the log. Whoever can rewrite both is found only by --key, and --checkpoint, kept elsewhere.')
  else if (!hasEarlier) print('Whoever has the key and could rewrite the log is found only by a --checkpoint kept elsewhere.')
}

/** @throws PdpError ERR_FILE, ERR_USAGE */
function keysOf(folder: string, given: readonly string[] | undefined): NoteKey[] {
  const texts = given ?? [join(folder, logFiles.verifiers)]
  return texts.flatMap((text) => {
    if (/^[^\s+/]+[^\s+]*\+[0-9a-f]{8}\+/.test(text)) return [parseVerifier(text)]
    let content: string
    try {
      content = readFileSync(text, 'utf8')
    } catch (cause) {
      throw new PdpError('ERR_FILE', `the key \`${text}\` cannot be read: ${(cause as Error).message}`, { cause })
    }
    return content.split('\n').filter(Boolean).map(parseVerifier)
  })
}

async function decrypt(folder = defaultLog, { key }: { readonly key: readonly string[] }): Promise<void> {
  const pems = await Promise.all(key.map(async (file) => (await readInput(file)).toString('utf8')))
  const unsealer = new Unsealer(folder, pems)
  for (const file of listSegments(folder)) {
    const lines: string[] = []
    eachLine(join(folder, file), (bytes, from, to) => void lines.push(bytes.toString('utf8', from, to)))
    for (const line of lines) print(await unsealer.unseal(line))
  }
  const { read, sealed } = unsealer.counts
  process.stderr.write(`${read} values in clear${sealed === 0 ? '' : `, ${sealed} that these keys do not open`}\n`)
}
