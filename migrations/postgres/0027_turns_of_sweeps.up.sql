-- The next sweep is asked for with each batch, and a thousand subscriptions that are paused together are a thousand sweeps.
CREATE INDEX sweeps_by_turn ON sweeps (turn_at);
