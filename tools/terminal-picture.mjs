// A picture of what a terminal shows: text with colours on stdin, SVG on stdout.
//   FORCE_COLOR=1 npm run -s verdict -- explain ID | node tools/terminal-picture.mjs 'verdict explain ID' > docs/explain.svg
import { readFileSync } from 'node:fs'

const colours = { 31: '#e5534b', 32: '#57ab5a', 33: '#c69026', 90: '#768390' }
const [fontSize, charWidth, lineHeight, padding] = [13, 7.83, 19, 16]
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const lines = [`$ ${process.argv[2] ?? ''}`, ...readFileSync(0, 'utf8').trimEnd().split('\n')]
// biome-ignore lint/complexity/useRegexLiterals: an escape character is no text
const sgr = new RegExp('\u001b\\[([0-9;]*)m')
const columns = Math.max(...lines.map((line) => line.replace(new RegExp(sgr, 'g'), '').length))
const body = lines.map((line, i) => {
  let fill = i === 0 ? '#539bf5' : '#adbac7'
  const spans = line.split(sgr).map((part, at) => {
    if (at % 2 === 1) {
      fill = colours[part] ?? '#adbac7'
      return ''
    }
    return part === '' ? '' : `<tspan fill="${fill}">${escaped(part)}</tspan>`
  })
  return `<text x="${padding}" y="${padding + fontSize + i * lineHeight}">${spans.join('')}</text>`
})
const [width, height] = [Math.ceil(columns * charWidth + 2 * padding), lines.length * lineHeight + 2 * padding]
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${fontSize}" xml:space="preserve">
<title>${escaped(lines[0])}</title>
<rect width="${width}" height="${height}" rx="8" fill="#22272e"/>
${body.join('\n')}
</svg>
`)
