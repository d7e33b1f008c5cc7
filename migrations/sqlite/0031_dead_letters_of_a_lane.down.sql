DROP INDEX closed_deliveries_dead;
