"""The paper's networks and tables: retrain any functions, print them beside what was published."""
