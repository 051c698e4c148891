"""Where candles come from: feeds of closed candles on one market clock, and the store of recent ones.

A feed is read by the engine only. `factory.open_feed` chooses one by the configuration; `feed.Feed`
says what each of them promises.
"""
