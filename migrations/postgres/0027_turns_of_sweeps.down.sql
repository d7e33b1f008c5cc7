DROP INDEX sweeps_by_turn;
