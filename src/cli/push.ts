// verdict push: sends a bundle to a running service, and shows what its checks found.
import type { Command } from 'commander'
import type { GateReport } from '../bundles/gate-report.ts'
import { reportLines } from '../bundles/gate-report.ts'
import type { RevisionInfo } from '../transport/http/bundle-routes.ts'
import { readInput } from './files.ts'
import { exitCodes, paint, print, printJson } from './output.ts'
import { askServer, type ServerOptions, withServerOptions } from './server-client.ts'

export function pushCommand(program: Command): void {
  withServerOptions(
    program
      .command('push')
      .description('send a bundle to a running service')
      .argument('<file>', 'the bundle, .tar.gz; with Rego alone it is compiled there')
      .option('--name <name>', 'name of the bundle', 'main'),
  )
    .addHelpText(
      'after',
      `
Examples:
  verdict build policies -o bundle.tar.gz --revision "$(git rev-parse --short HEAD)"
  verdict push bundle.tar.gz --name main
  verdict push bundle.tar.gz --name main --server https://pdp.example --json

Exit code 1: the checks rejected the bundle; what was active goes on answering.`,
    )
    .action(async (file: string, options: ServerOptions & { name: string }) => {
      const archive = await readInput(file)
      const path = `/v1/bundles/${encodeURIComponent(options.name)}`
      const revision = await askServer<RevisionInfo>(options, 'PUT', path, withProgress(archive))
      if (options.json) printJson(revision)
      else printPushed(revision)
      if (revision.status === 'rejected') process.exitCode = exitCodes.no
    })
}

export function printPushed(revision: RevisionInfo): void {
  const { name, digest, status } = revision
  const missing = missingOf(revision)
  const report = revision.report as GateReport | undefined
  if (report !== undefined) for (const line of reportLines(report)) print(`  ${line}`)
  const said = revision.active
    ? paint('green', `active, epoch ${revision.epoch}`)
    : status === 'held'
      ? paint('yellow', `held: ${missing.join(' and ')} missing`)
      : status === 'ready'
        ? paint('green', 'ready')
        : paint('red', status)
  print(`${paint('bold', name)} ${digest} ${said}`)
  if (status === 'held' && missing.some((one) => one.includes('signature')))
    print(`Another key signs it: verdict sign, then verdict bundles sign ${name} ${short(digest)} ENVELOPE`)
  if (status === 'held' && missing.some((one) => one.includes('approval')))
    print(`Somebody else approves it: verdict bundles approve ${name} ${short(digest)}`)
  if (status === 'ready' && !revision.active) print(`It answers after: verdict bundles activate ${name} ${short(digest)}`)
}

/** What a revision waits for, in words. */
function missingOf({ needed_approvals, approved_by, needed_signers, signed_by }: RevisionInfo): string[] {
  const words = { approval: needed_approvals - approved_by.length, signature: needed_signers - signed_by.length }
  return Object.entries(words).flatMap(([word, count]) => (count > 0 ? [`${count} ${word}${count === 1 ? '' : 's'}`] : []))
}

export function short(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12)
}

const partBytes = 256 * 1024
const barLength = 30

/** The archive in parts, with a bar on a terminal. */
function withProgress(archive: Buffer): ReadableStream {
  const isShown = process.stderr.isTTY && archive.length > partBytes
  let sent = 0
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(archive.subarray(sent, sent + partBytes))
      sent = Math.min(archive.length, sent + partBytes)
      if (isShown) {
        const done = Math.round((sent / archive.length) * barLength)
        const percent = Math.round((sent / archive.length) * 100)
        process.stderr.write(`\r${'█'.repeat(done)}${'░'.repeat(barLength - done)} ${percent} %${sent === archive.length ? '\n' : ''}`)
      }
      if (sent === archive.length) controller.close()
    },
  })
}
