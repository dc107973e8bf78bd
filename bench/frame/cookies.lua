-- Sends the Cookie headers of the file named on the command line, in turn, and prints one line of JSON.
local cookies, next_one = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    cookies[#cookies + 1] = wrk.format('GET', nil, { Host = wrk.headers['Host'], Cookie = line ~= '' and line or nil })
  end
end

function request()
  next_one = next_one % #cookies + 1
  return cookies[next_one]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"failed":%d,"refused":%d,"p50Ms":%f,"p99Ms":%f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
