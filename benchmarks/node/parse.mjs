// Feeds chunks to eventsource-parser and says what that costs.
//
// Each line of the standard input is a request, each line of the standard output the answer to it:
//   {"load": FILE}    read chunks from a file, each after its length in four bytes (little endian)
//   {"events": true}  answer what they make: [type, data, last event ID] of each event
//   {"run": N}        parse them N times; answer the CPU time of one, in seconds

import {readFileSync} from 'node:fs'
import {createInterface} from 'node:readline'
import {StringDecoder} from 'node:string_decoder'
import {createParser} from 'eventsource-parser'

let chunks = []

function load(file) {
  const bytes = readFileSync(file)
  chunks = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    chunks.push(bytes.subarray(at + 4, end))
    at = end
  }
  return chunks.length
}

function events() {
  const found = []
  let last = ''
  const parser = createParser({
    onId(id) {
      last = id
    },
    onEvent(event) {
      found.push([event.event ?? 'message', event.data, last])
    },
  })
  const decoder = new TextDecoder()
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, {stream: true}))
  return found
}

let seen = 0

function onEvent() {
  seen += 1
}

function withTextDecoder() {
  const parser = createParser({onEvent})
  const decoder = new TextDecoder()
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, {stream: true}))
}

function withStringDecoder() {
  const parser = createParser({onEvent})
  const decoder = new StringDecoder('utf8')
  for (const chunk of chunks) parser.feed(decoder.write(chunk))
}

function cost(parse, times) {
  const before = process.cpuUsage()
  for (let i = 0; i < times; i++) parse()
  const {user, system} = process.cpuUsage(before)
  return (user + system) / 1e6 / times
}

for await (const line of createInterface({input: process.stdin})) {
  const request = JSON.parse(line)
  let answer
  if (request.load) answer = load(request.load)
  else if (request.events) answer = events()
  else answer = Math.min(cost(withTextDecoder, request.run), cost(withStringDecoder, request.run))
  process.stdout.write(JSON.stringify(answer) + '\n')
}
